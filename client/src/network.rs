//! A network that is worse than the one there is: what it does to what passes through it, and how that is
//! written.

mod way;

use std::{fmt, str::FromStr, time::Duration};

use touchstone_output::suggest::closest;

pub use self::way::Way;

/// The longest time of a network, far from where sums of times have no value any more.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a network does to what passes through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Network {
    /// How long everything is on its way, in each direction.
    pub delay: Duration,
    /// How much longer it may take. Nothing overtakes what was sent before it on the same connection.
    pub jitter: Duration,
    /// How many bytes pass in a second, in each direction of a connection.
    pub rate: Option<u32>,
    /// How long nothing passes at all, and how often that begins.
    pub freeze: Option<Freeze>,
    /// How long connections live on average before they are reset.
    pub cut: Option<Duration>,
}

/// When nothing passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freeze {
    /// How long.
    pub lasts: Duration,
    /// From the beginning of one to that of the next.
    pub every: Duration,
}

const fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// The networks that have a name.
pub const NETWORKS: [(&str, Network); 4] = [
    (
        "slow",
        Network {
            delay: ms(60),
            jitter: ms(0),
            rate: Some(400_000),
            freeze: None,
            cut: None,
        },
    ),
    (
        "far",
        Network {
            delay: ms(150),
            jitter: ms(10),
            rate: None,
            freeze: None,
            cut: None,
        },
    ),
    (
        "flaky",
        Network {
            delay: ms(20),
            jitter: ms(150),
            rate: None,
            freeze: Some(Freeze {
                lasts: ms(400),
                every: ms(3_000),
            }),
            cut: None,
        },
    ),
    (
        "mobile",
        Network {
            delay: ms(70),
            jitter: ms(60),
            rate: Some(500_000),
            freeze: Some(Freeze {
                lasts: ms(900),
                every: ms(8_000),
            }),
            cut: None,
        },
    ),
];

/// Why a text names no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{part:?}: {why}; a network is slow, far, flaky, mobile, or values like \
     delay=100ms,jitter=50ms,rate=250k,freeze=1s/10s,cut=30s"
)]
pub struct NetworkError {
    part: String,
    why: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    /// A name, values, or a name with values that differ: `mobile,cut=20s`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut network = Self::default();
        for (nth, part) in text.split(',').enumerate() {
            let wrong = |why: String| NetworkError {
                part: part.to_owned(),
                why,
            };
            match part.split_once('=') {
                Some((key, value)) => network.set(key, value).map_err(wrong)?,
                None if nth == 0 => {
                    let named = NETWORKS.iter().find(|(name, _)| *name == part);
                    let names = NETWORKS.map(|(name, _)| name);
                    let none = || wrong(unknown("network", part, &names));
                    network = named.ok_or_else(none)?.1;
                }
                None => return Err(wrong("has no value".to_owned())),
            }
        }
        Ok(network)
    }
}

/// What may be said of a network.
const VALUES: [&str; 5] = ["delay", "jitter", "rate", "freeze", "cut"];

impl Network {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "delay" => self.delay = duration(value)?,
            "jitter" => self.jitter = duration(value)?,
            "rate" => self.rate = Some(rate(value).ok_or("write it like 500, 250k or 2M")?),
            "freeze" => {
                let (lasts, every) = value.split_once('/').ok_or("write it like 1s/10s")?;
                let (lasts, every) = (duration(lasts)?, duration(every)?);
                if lasts >= every {
                    return Err("it lasts until the next one begins".to_owned());
                }
                self.freeze = Some(Freeze { lasts, every });
            }
            "cut" => self.cut = Some(duration(value)?),
            _ => return Err(unknown("value", key, &VALUES)),
        }
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = NETWORKS.iter().find(|(_, network)| network == self) {
            return f.write_str(name);
        }
        // Without spaces it is one word of a command line.
        let time = |time| {
            humantime::format_duration(time)
                .to_string()
                .replace(' ', "")
        };
        write!(f, "delay={},jitter={}", time(self.delay), time(self.jitter))?;
        if let Some(rate) = self.rate {
            write!(f, ",rate={rate}")?;
        }
        if let Some(Freeze { lasts, every }) = self.freeze {
            write!(f, ",freeze={}/{}", time(lasts), time(every))?;
        }
        match self.cut {
            Some(cut) => write!(f, ",cut={}", time(cut)),
            None => Ok(()),
        }
    }
}

/// That there is no such thing, and what was probably meant.
fn unknown(kind: &str, asked: &str, known: &[&str]) -> String {
    match closest(asked, known.iter().copied()) {
        Some(name) => format!("there is no such {kind}; did you mean {name}?"),
        None => format!("there is no such {kind}"),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match time <= LONGEST {
        true => Ok(time),
        false => Err("longer than a day".to_owned()),
    }
}

/// Bytes in a second: `500`, `250k`, `2M`.
fn rate(text: &str) -> Option<u32> {
    let (number, unit) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
        (Some(number), _) => (number, 1_000),
        (_, Some(number)) => (number, 1_000_000),
        _ => (text, 1),
    };
    number
        .parse::<u32>()
        .ok()?
        .checked_mul(unit)
        .filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_named_or_described() {
        #[track_caller]
        fn check(text: &str, expected: Option<Network>) {
            assert_eq!(text.parse::<Network>().ok(), expected, "{text:?}");
        }
        for (name, network) in NETWORKS {
            check(name, Some(network));
            assert_eq!(network.to_string(), name);
        }
        let mobile = NETWORKS[3].1;
        let cut = Some(ms(20_000));
        check("mobile,cut=20s", Some(Network { cut, ..mobile }));
        let described = Network {
            delay: ms(100),
            jitter: ms(50),
            rate: Some(250_000),
            freeze: Some(Freeze {
                lasts: ms(1_000),
                every: ms(10_000),
            }),
            cut: None,
        };
        check(
            "delay=100ms,jitter=50ms,rate=250k,freeze=1s/10s",
            Some(described),
        );
        check(&described.to_string(), Some(described));
        // Times are written as everywhere else.
        let minute = "freeze=500us/1m,cut=1m 30s".parse::<Network>().unwrap();
        assert_eq!(minute.cut, Some(ms(90_000)));
        check(&minute.to_string(), Some(minute));
        for wrong in [
            "",
            "fast",
            "delay",
            "delay=1",
            "delay=-1s",
            "rate=0",
            "rate=9999M",
            "freeze=1s",
            "freeze=2s/1s",
            "cut=9999999years",
            "delay=1s,far",
            "slow,",
            "speed=1",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let told = text.parse::<Network>().unwrap_err().to_string();
            assert!(told.starts_with(expected), "{told}");
        }
        check(
            "slo",
            r#""slo": there is no such network; did you mean slow?"#,
        );
        check(
            "dely=1s",
            r#""dely=1s": there is no such value; did you mean delay?"#,
        );
        check("delay=100", r#""delay=100": time unit needed"#);
        check("rate=fast", r#""rate=fast": write it like 500, 250k or 2M"#);
    }
}
