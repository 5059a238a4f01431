//! A server behind a reverse proxy that has it under a prefix: the path of a URL goes before every path,
//! in every command, and what no request would carry is refused.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::{Served, check, free_address, listen, run};

/// Where the proxy has the server.
const PREFIX: &str = "/behind/proxy";

/// A proxy that has a server under the prefix, and something else everywhere else.
struct Prefixed {
    /// The server's URL.
    url: String,
    /// The proxy's own.
    bare: String,
    /// How many requests reached the server.
    served: Arc<AtomicUsize>,
    /// What was asked for outside of the prefix.
    strayed: Arc<Mutex<Vec<String>>>,
}

impl Prefixed {
    /// Before a server at this address, which may come later.
    fn start(target: String) -> Self {
        let served = Arc::new(AtomicUsize::new(0));
        let strayed = Arc::new(Mutex::new(Vec::new()));
        let (count, strays) = (Arc::clone(&served), Arc::clone(&strayed));
        let bare = listen(move |client| {
            let mut reader = BufReader::new(client.try_clone().expect("a handle"));
            let Some(head) = head(&mut reader) else {
                return;
            };
            match inside(&head) {
                Some(head) => {
                    count.fetch_add(1, Ordering::SeqCst);
                    forward(&client, reader, &target, &head);
                }
                None => {
                    let line = head.lines().next().unwrap_or_default().to_owned();
                    strays.lock().expect("strays").push(line);
                    refuse(client);
                }
            }
        });
        Self {
            url: format!("{bare}{PREFIX}"),
            bare,
            served,
            strayed,
        }
    }

    /// Something came through, and nothing went elsewhere since.
    #[track_caller]
    fn was_used(&self) {
        assert!(self.served.swap(0, Ordering::SeqCst) > 0, "nothing came");
        let strayed = std::mem::take(&mut *self.strayed.lock().expect("strays"));
        assert!(strayed.is_empty(), "{strayed:?}");
    }
}

/// The head of the first request of a connection.
fn head(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// The head as the server gets it, if its path is below the prefix. All but upgrades end with their
/// answer, so that no second request has to be looked for.
fn inside(head: &str) -> Option<String> {
    let (line, fields) = head.split_once("\r\n")?;
    let (method, target) = line.split_once(' ')?;
    let target = target
        .strip_prefix(PREFIX)
        .filter(|it| it.starts_with('/'))?;
    let upgrade = fields.to_ascii_lowercase().contains("upgrade: websocket");
    let fields: Vec<_> = fields
        .split("\r\n")
        .filter(|field| upgrade || !field.to_ascii_lowercase().starts_with("connection:"))
        .collect();
    let close = if upgrade { "" } else { "Connection: close\r\n" };
    Some(format!(
        "{method} {target}\r\n{close}{}",
        fields.join("\r\n")
    ))
}

fn forward(client: &TcpStream, mut reader: BufReader<TcpStream>, target: &str, head: &str) {
    let Ok(mut server) = TcpStream::connect(target) else {
        return;
    };
    let mut back = (
        server.try_clone().expect("a handle"),
        client.try_clone().expect("a handle"),
    );
    thread::spawn(move || {
        std::io::copy(&mut back.0, &mut back.1).ok();
        back.1.shutdown(Shutdown::Both).ok();
    });
    server.write_all(head.as_bytes()).ok();
    std::io::copy(&mut reader, &mut server).ok();
    server.shutdown(Shutdown::Both).ok();
}

/// What else stands behind the proxy is no server of this family.
fn refuse(mut client: TcpStream) {
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    client.write_all(answer.as_bytes()).ok();
    client.shutdown(Shutdown::Write).ok();
    client.read_to_end(&mut Vec::new()).ok();
}

/// `http://` and a slash too many are what people write.
fn address(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

#[test]
fn check_judges_what_is_behind_the_prefix() {
    let served = Served::start(&[]);
    let proxy = Prefixed::start(address(&served.url));
    let only = [
        "--only",
        "handshake.client-type",
        "--only",
        "transport.polling",
        "--only",
        "transport.upgrade",
        "--only",
        "rest.session.list",
    ];
    for url in [proxy.url.clone(), format!("{}/", proxy.url)] {
        let ran = check(&[&["check", &url][..], &only].concat(), 0, &[]);
        assert!(ran.stdout.contains(&proxy.url), "{}", ran.stdout);
        proxy.was_used();
    }
    // Without the prefix there is another server, which is none of this family.
    check(&["check", &proxy.bare], 3, &["HTTP 404"]);
    let elsewhere = format!("{}/elsewhere", proxy.bare);
    for command in ["account", "explore", "load"] {
        check(
            &[command, &elsewhere],
            3,
            &["HTTP 404", "is the path of the URL right?"],
        );
    }
    // A path that does not belong there is the likelier mistake where the server answers without it.
    let surplus = format!("{}/v1/updates", served.url);
    check(
        &["check", &surplus],
        3,
        &["hint:", "without the path of the URL", &served.url],
    );
}

#[test]
fn what_is_repeated_is_behind_the_prefix_too() {
    let served = Served::start(&["--fault", "version-plus-two"]);
    let proxy = Prefixed::start(address(&served.url));
    let ran = run(&[
        "check",
        &proxy.url,
        "--only",
        "session.update-metadata.success",
    ]);
    let repeat = format!("touchstone check {} --only", proxy.url);
    assert!(ran.stdout.contains(&repeat), "{}", ran.stdout);
    proxy.was_used();
}

#[test]
fn a_spawned_server_is_awaited_behind_the_prefix() {
    let address = free_address();
    let proxy = Prefixed::start(address.clone());
    let program = env!("CARGO_BIN_EXE_touchstone");
    let spawn = format!("{program} serve --listen {address}");
    check(
        &["check", &proxy.url, "--spawn", &spawn, "--only", "ping.*"],
        0,
        &[],
    );
    proxy.was_used();
}

#[test]
fn load_watch_and_replay_reach_what_is_behind_the_prefix() {
    let served = Served::start(&["--control"]);
    let proxy = Prefixed::start(address(&served.url));
    let load = ["load", &proxy.url, "--scale", "0.25", "--duration", "3s"];
    check(&load, 0, &[]);
    proxy.was_used();

    let until = [
        "--headless",
        "--for",
        "60s",
        "--until",
        "type == \"connected\"",
    ];
    check(&[&["watch", &proxy.url][..], &until].concat(), 0, &[]);
    proxy.was_used();
    let until = [
        "--headless",
        "--for",
        "60s",
        "--until",
        "kind == \"connection\"",
    ];
    check(
        &[&["watch", &proxy.url, "--tap"][..], &until].concat(),
        0,
        &[],
    );
    proxy.was_used();

    let folder = tempfile::tempdir().expect("a folder");
    let traces = folder.path().display().to_string();
    run(&["check", "--only", "message.recipients", "--trace", &traces]);
    check(
        &["replay", &traces, "--as-fast", "--against", &proxy.url],
        0,
        &[],
    );
    proxy.was_used();
}

#[test]
fn what_no_request_would_carry_is_refused() {
    let commands: [&[&str]; 4] = [
        &["check"],
        &["load"],
        &["watch", "--headless"],
        &["replay", "trace.jsonl", "--against"],
    ];
    for (url, part) in [
        ("http://127.0.0.1:1/?token=x", "has a query"),
        ("http://127.0.0.1:1/#part", "has a fragment"),
        (
            "http://me:secret@127.0.0.1:1",
            "has a user name or password",
        ),
    ] {
        for command in commands {
            let ran = check(&[command, &[url]].concat(), 2, &[part]);
            assert!(!ran.stderr.contains("secret@") || url.contains("secret@"));
        }
    }
}
