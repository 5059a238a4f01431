//! The script: what the connections of an account receive, in a thread of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, MissedTickBehavior, interval};
use touchstone_client::trace::Recorder;
use touchstone_client::{Direction, Frame, Tap};

/// How often the script sends, each time what has become due.
const BEAT: Duration = Duration::from_millis(2);

/// What the script did.
pub(crate) struct Sent {
    pub(crate) arrivals: u64,
    pub(crate) copies: u64,
    pub(crate) cpu: Duration,
}

/// Plays the connections in a thread of its own, whose CPU time can be told from the monitor's.
pub(crate) fn script(
    recorder: Recorder,
    rate: u32,
    end: Instant,
) -> io::Result<std::thread::JoinHandle<Sent>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let play = move || {
        runtime.block_on(async {
            let mut cast = Cast::new(&recorder);
            let begun = Instant::now();
            let mut beats = interval(BEAT);
            beats.set_missed_tick_behavior(MissedTickBehavior::Burst);
            while Instant::now() < end {
                beats.tick().await;
                let due = begun.elapsed().as_secs_f64() * f64::from(rate);
                while (cast.arrivals as f64) < due {
                    cast.next();
                }
            }
            Sent {
                arrivals: cast.arrivals,
                copies: cast.copies,
                cpu: thread_time(),
            }
        })
    };
    std::thread::Builder::new()
        .name("script".to_owned())
        .spawn(play)
}

/// The CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The connections of one account: two users, who get everything, a session and a machine.
struct Cast {
    users: [Arc<dyn Tap>; 2],
    session: Arc<dyn Tap>,
    machine: Arc<dyn Tap>,
    number: u64,
    arrivals: u64,
    copies: u64,
}

impl Cast {
    fn new(recorder: &Recorder) -> Self {
        let connection = |name: &str, auth: &str| {
            let tap = recorder.tap(name);
            let auth = format!(r#"40{{"token":"secret",{auth}}}"#);
            tap.frame(Instant::now(), Direction::Sent, &Frame::text(auth));
            let sid = format!(r#"40{{"sid":"{name}"}}"#);
            tap.frame(Instant::now(), Direction::Received, &Frame::text(sid));
            tap
        };
        let user = r#""clientType":"user-scoped""#;
        Self {
            users: [connection("1/user-1", user), connection("1/user-2", user)],
            session: connection(
                "1/session-1",
                r#""clientType":"session-scoped","sessionId":"cmbsession0""#,
            ),
            machine: connection(
                "1/machine-1",
                r#""clientType":"machine-scoped","machineId":"cmbmachine0""#,
            ),
            number: 0,
            arrivals: 0,
            copies: 0,
        }
    }

    /// The next thing that happens, which is one arrival or more.
    fn next(&mut self) {
        self.number += 1;
        let number = self.number;
        // A time of day at which the schemas believe in milliseconds.
        let at = 1_800_000_000_000 + number;
        let update = |body: &str| {
            format!(
                r#"42["update",{{"id":"upd{number}","seq":{number},"body":{body},"createdAt":{at}}}]"#
            )
        };
        match number % 10 {
            0..4 => {
                // Mostly small, now and then as large as the load scenarios assume.
                let size = match number % 100 {
                    0 => 12_000,
                    1..10 => 1_000,
                    _ => 120,
                };
                let text = "bWVzc2FnZXMg".repeat(size / 12);
                let message = format!(
                    r#"{{"t":"new-message","sid":"cmbsession0","message":{{"id":"m{number}","seq":{number},"content":{{"t":"encrypted","c":"{text}"}},"localId":null,"createdAt":{at},"updatedAt":{at}}}}}"#
                );
                let frame = update(&message);
                self.got(&frame, &[0, 1, 2]);
            }
            4 | 5 => {
                let body = format!(
                    r#"{{"t":"update-session","id":"cmbsession0","agentState":{{"value":"c3RhdGU=","version":{number}}}}}"#
                );
                self.got(&update(&body), &[0, 1, 2]);
            }
            6 => {
                let body = format!(
                    r#"{{"t":"update-machine","machineId":"cmbmachine0","daemonState":{{"value":"c3RhdGU=","version":{number}}}}}"#
                );
                self.got(&update(&body), &[0, 1, 3]);
            }
            7 => self.call(),
            _ => {
                let frame = format!(
                    r#"42["ephemeral",{{"type":"activity","id":"cmbsession{}","active":true,"activeAt":{at},"thinking":false}}]"#,
                    number % 50
                );
                self.got(&frame, &[0, 1]);
            }
        }
    }

    fn got(&mut self, frame: &str, by: &[usize]) {
        for at in by {
            let tap = match at {
                2 => &self.session,
                3 => &self.machine,
                user => &self.users[*user],
            };
            tap.frame(
                Instant::now(),
                Direction::Received,
                &Frame::text(frame.to_owned()),
            );
        }
        self.arrivals += by.len() as u64;
        self.copies += by.len() as u64 - 1;
    }

    /// A remote call, with its request and both answers.
    fn call(&mut self) {
        let (id, now) = (self.number, Instant::now());
        let call = format!(r#"["rpc-call",{{"method":"cmbmachine0:bash","params":"p{id}"}}]"#);
        let request =
            format!(r#"["rpc-request",{{"method":"cmbmachine0:bash","params":"p{id}"}}]"#);
        let frames = [
            (&self.users[0], Direction::Sent, format!("42{id}{call}")),
            (
                &self.machine,
                Direction::Received,
                format!("42{id}{request}"),
            ),
            (
                &self.machine,
                Direction::Sent,
                format!(r#"43{id}["cmVzdWx0"]"#),
            ),
            (
                &self.users[0],
                Direction::Received,
                format!(r#"43{id}[{{"ok":true,"result":"cmVzdWx0"}}]"#),
            ),
        ];
        for (tap, direction, frame) in frames {
            tap.frame(now, direction, &Frame::text(frame));
        }
        self.arrivals += 4;
    }
}
