//! The requirements that the harness judges by itself, whatever case runs: that connections come about
//! and stay open, and that each update reaches whom it has to reach.

use crate::ledger::requirement_table;

requirement_table! {
    ADMITS_USER_SCOPED = "handshake.user-scoped", Must, Specification,
        "A valid token with clientType user-scoped is admitted.";
    ADMITS_SESSION_SCOPED = "handshake.session-scoped", Must, Specification,
        "A valid token with clientType session-scoped and a sessionId is admitted.";
    ADMITS_MACHINE_SCOPED = "handshake.machine-scoped", Must, Specification,
        "A valid token with clientType machine-scoped and a machineId is admitted.";
    PING = "ping.answer", Must, Specification,
        "A ping is acknowledged with an empty object.";
    STAYS_OPEN = "connection.stays-open", Must, Decision,
        "Nothing that a client sends as an event ends its connection, however wrong the data is.";
    VALID_PACKETS = "connection.valid-packets", Must, Decision,
        "Whatever the server sends is valid: frames of WebSocket, packets of Engine.IO and Socket.IO, and \
         JSON in them.";
    SURVIVES = "server.survives", Must, Decision,
        "No input of a client ends the server.";
    NO_LOSS = "delivery.no-loss", Must, Decision,
        "Each update reaches every connection that needs it: none is lost.";
    NO_DUPLICATE = "delivery.no-duplicate", Must, Decision,
        "Each update reaches a connection at most once, also one that qualifies twice.";
    ISOLATED = "delivery.isolated", Must, Decision,
        "No connection of another account receives anything of this one, whatever ids it connected with.";
    DETAILS = "payload.details", Should, Decision,
        "Payloads have the keys and values that real clients need beyond what the interfaces say.";
    ORDERED = "update.order", Should, Decision,
        "Changes that were acknowledged one after the other arrive in that order.";
}
