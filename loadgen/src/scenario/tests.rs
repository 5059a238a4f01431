use super::*;

const SMALL: &str = "
description = 'for tests'
[population]
accounts = 2
users = 4
sessions = 6
machines = 2
[[phases]]
name = 'ramp'
duration = '5s'
load = [0, 1]
counted = false
[[phases]]
name = 'steady'
duration = '10s'
[[traffic]]
from = 'session'
event = 'message'
every = '2s'
";

#[track_caller]
fn check_refused(change: impl Fn(&str) -> String, expected: &str) {
    let text = change(SMALL);
    assert_ne!(text, SMALL, "the change changes nothing");
    let error = Scenario::parse("small", &text).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
    assert!(!error.contains('\n'), "more than one line: {error}");
}

#[track_caller]
fn check_replaced(from: &str, to: &str, expected: &str) {
    check_refused(|text| text.replacen(from, to, 1), expected);
}

#[test]
fn defaults_are_filled_in() {
    let scenario = Scenario::parse("small", SMALL).unwrap();
    assert_eq!(scenario.name, "small");
    assert_eq!(scenario.connections(), 12);
    assert_eq!(scenario.duration(), Span::from_secs(15));
    assert_eq!(
        scenario.phases[1].load,
        Load {
            from: 1000,
            to: 1000
        }
    );
    assert_eq!(scenario.traffic[0].size, Size::Fixed(120));
}

#[test]
fn mistakes_are_named_with_their_line() {
    check_replaced("accounts", "acounts", "line 4: unknown field `acounts`");
    check_replaced("users =", "user =", "did you mean `users`?");
    check_replaced("'message'", "'mesage'", "did you mean `message`?");
    check_replaced("'2s'", "'2 seconds'", "write it like 250ms, 1.5s or 2m");
    check_replaced("'2s'", "2", "line 19: ");
    check_replaced("[0, 1]", "-1", "write a number from 0 to 1000");
    check_replaced("[0, 1]", "'much'", "load is a number, or two");
    check_replaced("name = 'steady'", "", "missing field `name`");
    check_replaced("\ndescription", "\n= description", "line 2");
    check_refused(|text| format!("{text}share = 1.5"), "1.5 is no share");
    check_refused(
        |text| format!("{text}size = 'big'"),
        "a size is a number of bytes",
    );
}

#[test]
fn contradictions_are_named() {
    check_replaced("accounts = 2", "accounts = 0", "nobody can connect");
    check_replaced(
        "duration = '10s'",
        "duration = '10s'\ncounted = false",
        "no phase is counted",
    );
    check_replaced("users = 4", "users = 2000000", "the most is 1000000");
    check_replaced("'2s'", "'0s'", "traffic 1 (message): every is 0s");
    check_replaced("'message'", "'rpc-call'", "nobody registers a method");
    check_refused(|text| format!("{text}burst = 0"), "burst is 0");
    check_refused(
        |text| format!("{text}size = {{ median = 5, p95 = 4, p999 = 9 }}"),
        "do not grow",
    );
    check_refused(
        |text| {
            text.replace("sessions = 6", "")
                .replace("from = 'session'", "from = 'user'")
        },
        "fewer sessions than accounts",
    );
    check_refused(
        |text| format!("{text}[[herd]]\nat = '1h'\nfrom = ['user']\nback-after = '1s'"),
        "herd.at is 1h, but the run is over after 15s",
    );
    check_refused(
        |text| format!("{text}[[turn]]\nlasts = '1s'\npause = '1ms'"),
        "turn.pause is 1ms, the least is 10ms",
    );
    check_refused(
        |text| format!("{text}[session]\nregistrations = 4000000000"),
        "session: registrations is 4000000000, the most is 10000",
    );
    check_refused(
        |text| format!("{text}[rpc]\ntimeout = '0s'"),
        "rpc.timeout is 0s, the least is 10ms",
    );
    check_refused(
        |text| format!("{text}[connect]\ntimeout = '0s'"),
        "connect.timeout is 0s, the least is 10ms",
    );
    let shift = "[[shift]]\nonline = '1s'";
    check_refused(
        |text| text.replace("sessions = 6", "sessions = 6\nper-session = 2") + shift,
        "per-session is more than 1",
    );
    check_refused(
        |text| {
            text.replace(
                "'session'\nevent = 'message'",
                "'user'\nevent = 'session-alive'",
            ) + shift
        },
        "traffic 1 (session-alive): with a shift",
    );
    check_replaced(
        "'message'",
        "'session-end'",
        "unknown variant `session-end`",
    );
}

#[test]
fn a_scale_multiplies_what_the_population_says() {
    #[track_caller]
    fn check(scales: &str, scale: &str, expected: [u32; 4]) {
        let text = SMALL.replace("users", &format!("{scales}users"));
        let scaled = Scenario::parse("small", &text).unwrap();
        let Population {
            accounts,
            users,
            sessions,
            machines,
            ..
        } = scaled.scaled(scale.parse().unwrap()).unwrap().population;
        assert_eq!([accounts, users, sessions, machines], expected);
    }
    check("", "2", [4, 8, 12, 4]);
    check("", "0.01", [1, 1, 1, 1]);
    check("", "1.25", [3, 5, 8, 3]);
    check("scales = 'users'\n", "100", [2, 400, 6, 2]);
    for wrong in ["", "0", "-1", "x", "1e3", "0.0000001", "1000000001"] {
        assert!(wrong.parse::<Scale>().is_err(), "{wrong}");
    }
    let small = Scenario::parse("small", SMALL).unwrap();
    let error = small
        .scaled("900000".parse().unwrap())
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "scenario small: at scale 900000: population.accounts is 1800000, the most is 1000000"
    );
}

#[test]
fn a_duration_stretches_the_last_counted_phase() {
    let small = Scenario::parse("small", SMALL).unwrap();
    let longer = small.clone().lasting(Span::from_secs(65)).unwrap();
    assert_eq!(longer.phases[1].duration, Span::from_secs(60));
    assert_eq!(longer.phases[0], small.phases[0]);
    let error = small.lasting(Span::from_secs(5)).unwrap_err().to_string();
    assert!(
        error.contains("leaves nothing for phase \"steady\""),
        "{error}"
    );
}

#[test]
fn spans_are_written_and_read() {
    #[track_caller]
    fn check(text: &str, us: u64, shown: &str) {
        let span: Span = text.parse().unwrap();
        assert_eq!((span.us(), span.to_string().as_str()), (us, shown));
    }
    check("1.5s", 1_500_000, "1500ms");
    check("250ms", 250_000, "250ms");
    check("90m", 5_400_000_000, "90m");
    check("120m", 7_200_000_000, "2h");
    check("0s", 0, "0s");
    check("3.234s", 3_234_000, "3234ms");
    for wrong in [
        "",
        "5",
        "s",
        "1 week",
        "-1s",
        "1,5s",
        "1.s",
        "9999999h",
        "999999999999999999999s",
    ] {
        assert!(wrong.parse::<Span>().is_err(), "{wrong}");
    }
}

#[test]
fn the_parts_of_an_event_agree() {
    for (index, kind) in EventKind::ALL.into_iter().enumerate() {
        assert_eq!(kind.index(), index);
        assert_eq!(
            kind.scope() == Scope::Nobody,
            kind.delivered_as().is_none(),
            "{kind:?}"
        );
        let by_subject = match kind.scope() {
            Scope::Session | Scope::SessionWithoutSender => Some(Role::Session),
            Scope::Machine => Some(Role::Machine),
            _ => kind.subject(),
        };
        assert_eq!(kind.subject(), by_subject, "{kind:?}");
    }
}

#[test]
fn every_built_in_scenario_is_one() {
    for (name, text) in touchstone_fixtures::SCENARIOS {
        let scenario = Scenario::parse(name, text).unwrap();
        for scale in ["0.01", "3"] {
            scenario.clone().scaled(scale.parse().unwrap()).unwrap();
        }
    }
}

/// The sample explains what the other scenarios only use, so it must name every key.
#[test]
fn the_sample_names_every_key() {
    let sample = touchstone_fixtures::scenario("production").unwrap();
    let is_key = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    for section in [
        "",
        "[population]\n",
        "[connect]\n",
        "[session]\n",
        "[rpc]\n",
        "[audit]\n",
        "[bounds]\n",
        "[[traffic]]\n",
        "[[phases]]\n",
        "[[turn]]\n",
        "[[shift]]\n",
        "[[churn]]\n",
        "[[herd]]\n",
        "[[slow]]\n",
        "[[half-open]]\n",
    ] {
        let text = format!("{section}no-such-key = 1");
        let error = toml::from_str::<Scenario>(&text).unwrap_err();
        let keys = error
            .message()
            .split('`')
            .skip(3)
            .step_by(2)
            .filter(|word| is_key(word));
        let mut count = 0;
        for key in keys {
            assert!(sample.contains(key), "{section}{key} is not explained");
            count += 1;
        }
        assert!(count > 0, "{section}: {error}");
    }
}

#[test]
fn production_is_the_snapshot() {
    let production = touchstone_fixtures::scenario("production").unwrap();
    let scenario = Scenario::parse("production", production).unwrap();
    assert_eq!(scenario.connections(), 23_950);
    let registrations = scenario.population.sessions * scenario.session.registrations
        + scenario.population.machines * scenario.machine.registrations;
    assert_eq!(registrations, 321_212);
    let periods = |event| {
        let traffic = scenario.traffic.iter().filter(move |of| of.event == event);
        traffic.map(|of| of.every.us() as f64 / 1e6)
    };
    let sessions = f64::from(scenario.population.sessions);
    let turns = scenario.turn.iter();
    let turn: f64 = turns
        .map(|turn| (turn.lasts.us() + turn.pause.us()) as f64 / 1e6)
        .sum();
    let messages: f64 = periods(EventKind::Message)
        .map(|every| sessions / every)
        .sum();
    let alive: f64 = periods(EventKind::SessionAlive)
        .map(|every| sessions / every)
        .sum();
    assert_eq!(messages.round(), 180.0);
    // A turn is 40 messages, and its beginning and end are heartbeats, too.
    assert_eq!((sessions / turn * 40.0).round(), 180.0);
    assert_eq!((alive + 2.0 * sessions / turn).round(), 5_000.0);
}
