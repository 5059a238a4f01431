//! A server behind a reverse proxy that people run: TLS with a certificate of its own, a prefix, and a
//! header that it asks for. `interop/run` installs nginx and runs these tests.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::support::{Served, check, free_address, signal, touchstone};

const KEY: &str = "sesame-0123456789";

struct Nginx {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it only when it is asked to end.
        signal(&self.child, rustix::process::Signal::TERM);
        self.child.wait().ok();
    }
}

impl Nginx {
    /// Before this server.
    fn start(server: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certify(folder.path());
        let address = free_address();
        let configuration = configuration(folder.path(), &address, server);
        fs::write(folder.path().join("nginx.conf"), configuration).expect("a file");
        let mut child = Command::new("nginx")
            .arg("-p")
            .arg(folder.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("nginx is there: interop/run installs it");
        let errors = BufReader::new(child.stderr.take().expect("its errors"));
        // It says when its worker runs, and ends when it cannot listen.
        let started = errors
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("start worker process "));
        assert!(started, "nginx does not start");
        Self {
            child,
            folder,
            address,
        }
    }

    fn url(&self) -> String {
        let (_, port) = self.address.rsplit_once(':').expect("a port");
        format!("https://touchstone.test:{port}/behind")
    }

    fn authority(&self) -> String {
        let path = self.folder.path().join("ca.pem");
        path.to_str().expect("a path").to_owned()
    }
}

/// A certificate for `touchstone.test`, and the one that vouches for it.
fn certify(folder: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(["touchstone.test".to_owned()])
        .and_then(|params| params.signed_by(&key, &authority))
        .expect("a certificate");
    let files = [
        ("ca.pem", authority.pem()),
        ("server.pem", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ];
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file");
    }
}

fn configuration(folder: &Path, address: &str, server: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("  {of}_temp_path {folder}/{of};\n"))
        .concat();
    format!(
        r#"daemon off;
pid {folder}/pid;
error_log stderr notice;
events {{}}
http {{
  access_log off;
{temporary}  client_max_body_size 10m;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  server {{
    listen {address} ssl;
    server_name touchstone.test;
    ssl_certificate {folder}/server.pem;
    ssl_certificate_key {folder}/server.key;
    location /behind/ {{
      if ($http_x_key != "{KEY}") {{ return 403; }}
      proxy_pass {server}/;
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header Host $host:$server_port;
    }}
  }}
}}
"#
    )
}

/// Each command reaches the server through all of it, and shows the key nowhere.
#[test]
#[ignore = "needs nginx, which interop/run installs"]
fn every_command_reaches_a_server_behind_nginx() {
    let served = Served::start(&[]);
    let nginx = Nginx::start(&served.url);
    let (url, authority) = (nginx.url(), nginx.authority());
    let header = format!("X-Key: {KEY}");
    let reach = [
        "--cacert",
        &authority,
        "--connect-to",
        &nginx.address,
        "--header",
        &header,
    ];
    let ran = |arguments: &[&str]| {
        let ran = check(&[arguments, &reach].concat(), 0, &[]);
        assert!(!ran.stdout.contains(KEY), "{}", ran.stdout);
        assert!(!ran.stderr.contains(KEY), "{}", ran.stderr);
        ran
    };
    let traces = nginx.folder.path().join("traces");
    let traces = traces.to_str().expect("a path");
    let only = ["handshake.*", "transport.*", "rest.session.*", "values.*"];
    let only = only.map(|glob| ["--only", glob]).concat();
    let judged = ["check", &url, "--no-slow", "--no-hazards"];
    let report = format!("json={traces}.json");
    let kept = ["--trace", traces, "--report", &report];
    ran(&[&judged[..], &only, &kept].concat());
    for kept in fs::read_dir(traces).expect("traces") {
        let path = kept.expect("a trace").path();
        let text = fs::read_to_string(&path).expect("a trace");
        assert!(!text.contains(KEY), "{}", path.display());
    }
    let report = fs::read_to_string(format!("{traces}.json")).expect("a report");
    assert!(report.contains(&url) && !report.contains(KEY), "{report}");
    let ping = format!("{traces}/handshake.session-scoped.jsonl");
    ran(&["replay", &ping, "--against", &url]);
    ran(&["load", &url, "--scale", "0.25", "--duration", "3s"]);
    let token = ran(&["account", &url]).stdout;
    let token = token.trim();
    let emitted = ran(&["emit", &url, "ping", "--token", token]);
    assert_eq!(emitted.stdout, "answer    {}\n");
    ran(&["explore", &url, "--rounds", "1", "--seed", "1"]);
    // Its clients know neither the key nor the certificate.
    let proxy = [&["proxy", "127.0.0.1:0", &url, "--headless"][..], &reach].concat();
    let mut between = touchstone(&proxy).spawn().expect("the program starts");
    let mut said = BufReader::new(between.stderr.take().expect("a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("a line");
    let listening = line.strip_prefix("listening on ").expect(&line);
    let listening = listening.split(' ').next().expect("an address");
    check(&["check", listening, "--only", "ping.*"], 0, &[]);
    signal(&between, rustix::process::Signal::TERM);
    let told = between.wait_with_output().expect("an end").stdout;
    assert!(!String::from_utf8_lossy(&told).contains(KEY));
    let until = ["--for", "60s", "--until", "type == \"connected\""];
    let watch = ["watch", &url, "--token", token, "--headless"];
    assert!(
        ran(&[&watch[..], &until].concat())
            .stdout
            .contains("connected")
    );
}

/// What is missing is told by name.
#[test]
#[ignore = "needs nginx, which interop/run installs"]
fn what_nginx_refuses_is_told() {
    let served = Served::start(&[]);
    let nginx = Nginx::start(&served.url);
    let (url, authority) = (nginx.url(), nginx.authority());
    let header = format!("X-Key: {KEY}");
    let there = [
        "check",
        &url,
        "--connect-to",
        &nginx.address,
        "--only",
        "ping.*",
    ];
    let with = |more: &[&'static str]| [&there[..], more].concat();
    let trusting = [&there[..], &["--cacert", &authority]].concat();
    check(&trusting, 3, &["HTTP 403", "--header"]);
    check(&with(&[]), 3, &["UnknownIssuer", "--cacert"]);
    // Whatever command meets it.
    for command in ["explore", "load", "watch", "account"] {
        let headless = ["--headless"];
        let headless = if command == "watch" {
            &headless[..]
        } else {
            &[]
        };
        let there = [
            &[command, &url, "--connect-to", &nginx.address][..],
            headless,
        ]
        .concat();
        check(&there, 3, &["UnknownIssuer", "--cacert"]);
        let trusting = [&there[..], &["--cacert", &authority]].concat();
        check(&trusting, 3, &["HTTP 403", "--header"]);
    }
    let unverified = [&with(&["--insecure"])[..], &["--header", &header]].concat();
    let ran = check(&unverified, 0, &[]);
    assert!(
        ran.stdout.contains("certificates not verified"),
        "{}",
        ran.stdout
    );
}
