//! What holds over a restart of the server. No case ends one: `touchstone explore --crash` judges these.

use touchstone_harness::ledger::requirement_table;

requirement_table! {
    KEPT = "restart.acknowledged-kept", Should, Decision,
        "A server that promises it has every session, value and posted message that it acknowledged after it was \
         killed and started again; whatever was not answered is there or is not.";
    NUMBERS = "restart.numbers", Should, Decision,
        "After a restart the seq of updates, and that of a session's messages, go on above those that were told \
         before.";
    LOCAL_IDS = "restart.local-ids", Should, Decision,
        "After a restart a localId that is known makes no second message.";
    TOKENS = "restart.tokens", Should, Decision,
        "After a restart a token is as good as before.";
}
