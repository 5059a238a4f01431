//! Messages in several frames: with binary attachments, in fragments, with control frames between them.

use std::time::Duration;

use touchstone_proxy::Action;

use crate::gates::{MASK, Y, socket};
use crate::stand::{frame, frame_of, pass};

const TEXT: &str =
    r#"452-["x",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]"#;
const PING: u8 = 0x89;
const BINARY: u8 = 0x82;

/// An event with two attachments.
fn event(mask: Option<[u8; 4]>) -> Vec<u8> {
    let parts = [
        frame(TEXT, mask),
        frame_of(BINARY, b"one", mask),
        frame_of(BINARY, b"two", mask),
    ];
    parts.concat()
}

/// Sends such an event and another one from either side, and checks what arrives.
async fn check(action: Action, expected: impl Fn(Option<[u8; 4]>) -> Vec<Vec<u8>>) {
    let (_stand, mut client, mut server) = socket(action.clone()).await;
    let sent = [event(MASK), frame(Y, MASK)].concat();
    pass(&mut client, &mut server, &sent, &expected(MASK).concat()).await;
    let (_stand, mut client, mut server) = socket(action).await;
    let sent = [event(None), frame(Y, None)].concat();
    pass(&mut server, &mut client, &sent, &expected(None).concat()).await;
}

#[tokio::test]
async fn an_event_and_its_attachments_are_one_message() {
    let other = |mask| frame(Y, mask);
    check(Action::Drop, |mask| vec![other(mask)]).await;
    check(Action::Duplicate, |mask| {
        vec![event(mask), event(mask), other(mask)]
    })
    .await;
    check(Action::Reorder, |mask| vec![other(mask), event(mask)]).await;
    check(Action::Delay(Duration::from_millis(1)), |mask| {
        vec![event(mask), other(mask)]
    })
    .await;
    check(Action::Corrupt, |mask| {
        let mask = mask.map(|_| [0; 4]);
        let corrupted = frame(r#"42["x",{"a":null,"b":null}]"#, mask);
        vec![corrupted, other(mask.and(MASK))]
    })
    .await;
}

#[tokio::test]
async fn control_frames_do_not_wait_for_the_rest_of_a_message() {
    let ping = frame_of(PING, b"p", None);
    // Between an event and its attachment.
    let (_stand, mut client, mut server) = socket(Action::Drop).await;
    let event = event(None);
    let first = frame(TEXT, None).len();
    let cut = [&event[..first], &ping].concat();
    pass(&mut server, &mut client, &cut, &ping).await;
    let rest = [&event[first..], &frame(Y, None)].concat();
    pass(&mut server, &mut client, &rest, &frame(Y, None)).await;
    // Between two fragments.
    let (_stand, mut client, mut server) = socket(Action::Duplicate).await;
    let (begin, end) = (
        frame_of(0x01, br#"42["x""#, None),
        frame_of(0x80, b"]", None),
    );
    let cut = [&begin[..], &ping].concat();
    pass(&mut server, &mut client, &cut, &ping).await;
    let twice = [&begin[..], &end, &begin, &end].concat();
    pass(&mut server, &mut client, &end, &twice).await;
}

#[tokio::test]
async fn an_event_without_its_attachments_goes_on_as_it_is() {
    let (_stand, mut client, mut server) = socket(Action::Drop).await;
    let sent = [frame(TEXT, None), frame(Y, None)].concat();
    pass(&mut server, &mut client, &sent, &sent).await;
}
