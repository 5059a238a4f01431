//! A network that is worse than the one there is: a TCP proxy that delays, slows down, freezes and cuts what
//! passes through it. What the bytes mean it does not know.

use std::{fmt, future::Future, io, net::SocketAddr, str::FromStr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;
use touchstone_output::suggest::closest;

/// How many pieces may be on their way in each direction of a connection. Who sends more has to wait.
const ON_THE_WAY: usize = 1_024;
/// The largest piece.
const PIECE: usize = 16 << 10;

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

impl Network {
    /// When what was sent now arrives, if what was sent before it arrives at `before`.
    fn arrival(
        &self,
        now: Instant,
        began: Instant,
        before: Instant,
        length: usize,
        random: &mut StdRng,
    ) -> Instant {
        let jitter = self.jitter.mul_f64(random.random());
        let mut at = (now + self.delay + jitter).max(before);
        if let Some(rate) = self.rate {
            // Lengths of pieces are small numbers.
            at += Duration::from_secs_f64(length as f64 / f64::from(rate));
        }
        if let Some(Freeze { lasts, every }) = self.freeze {
            let into = (at - began).as_nanos() % every.as_nanos();
            let into = Duration::from_nanos(u64::try_from(into).unwrap_or(0));
            // The first one begins after a period, so that no server seems dead at the start.
            if at - began >= every && into < lasts {
                at += lasts - into;
            }
        }
        at
    }

    /// A way through this network to a host. `seed` decides what is left to chance.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn way_to(self, host: String, port: u16, seed: u64) -> io::Result<Way> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(self.serve(listener, (host, port), seed));
        Ok(Way {
            address,
            _task: AbortOnDropHandle::new(task),
        })
    }

    async fn serve(self, listener: TcpListener, to: (String, u16), seed: u64) {
        let began = Instant::now();
        let mut connections = JoinSet::new();
        for nth in 0.. {
            while connections.try_join_next().is_some() {}
            let Ok((client, _)) = listener.accept().await else {
                // No file is free: one of the connections has to end first.
                connections.join_next().await;
                continue;
            };
            let random = StdRng::seed_from_u64(seed.wrapping_add(nth));
            connections.spawn(self.connect(client, to.clone(), began, random));
        }
    }

    async fn connect(
        self,
        client: TcpStream,
        (host, port): (String, u16),
        began: Instant,
        mut random: StdRng,
    ) {
        // A handshake takes one way there and one way back.
        sleep(self.delay * 2).await;
        let Ok(server) = TcpStream::connect((host.as_str(), port)).await else {
            return reset(&client);
        };
        // A stream that has ended already is not in a hurry.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let cut = self.cut.map(|cut| (cut * 2).mul_f64(random.random()));
        let (mut there, mut back) = (client, server);
        let is_cut = {
            let (from_client, to_client) = there.split();
            let (from_server, to_server) = back.split();
            let other = StdRng::seed_from_u64(random.random());
            let carried = async {
                tokio::join!(
                    self.carry(from_client, to_server, began, random),
                    self.carry(from_server, to_client, began, other),
                )
            };
            let cut = async {
                match cut {
                    Some(cut) => sleep(cut).await,
                    None => std::future::pending().await,
                }
            };
            is_first(cut, carried).await
        };
        if is_cut {
            reset(&there);
            reset(&back);
        }
    }

    /// Carries one direction of a connection until it ends.
    async fn carry(
        self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        began: Instant,
        mut random: StdRng,
    ) {
        let (sender, mut pieces) = mpsc::channel::<(Instant, Vec<u8>)>(ON_THE_WAY);
        let read = async move {
            let (mut buffer, mut last) = (vec![0; PIECE], began);
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                last = self.arrival(Instant::now(), began, last, length, &mut random);
                if sender
                    .send((last, buffer[..length].to_vec()))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        };
        let write = async move {
            while let Some((due, piece)) = pieces.recv().await {
                sleep_until(due).await;
                if to.write_all(&piece).await.is_err() {
                    return;
                }
            }
            // Who has left needs not be told that the other has, too.
            let _ = to.shutdown().await;
        };
        tokio::join!(read, write);
    }
}

/// Makes the coming drop of a connection send a reset.
fn reset(stream: &TcpStream) {
    // One that cannot be told so is closed all the same.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Whether `one` ends before `other`.
async fn is_first<T>(one: impl Future<Output = ()>, other: impl Future<Output = T>) -> bool {
    tokio::select! {
        () = one => true,
        _ = other => false,
    }
}

/// A way through a network. It is there until it is dropped, and so are its connections.
#[derive(Debug)]
pub struct Way {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

impl Way {
    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

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

    #[tokio::test(start_paused = true)]
    async fn nothing_overtakes_and_nothing_passes_a_freeze() {
        let network: Network = "delay=10ms,jitter=100ms,rate=1M,freeze=500ms/2s"
            .parse()
            .unwrap();
        let (began, mut random) = (Instant::now(), StdRng::seed_from_u64(1));
        let (mut now, mut last) = (began, began);
        let mut frozen = 0;
        for _ in 0..1_000 {
            now += ms(10);
            let arrival = network.arrival(now, began, last, 1_000, &mut random);
            assert!(
                arrival >= now + ms(11) && arrival >= last + ms(1),
                "{arrival:?}"
            );
            let into = (arrival - began).as_millis();
            assert!(into < 2_000 || into % 2_000 >= 500, "{into}");
            frozen += u32::from(arrival - now > ms(200));
            last = arrival;
        }
        assert!(frozen > 50, "{frozen}");
    }

    /// A peer that sends back what it receives.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn everything_passes_later_and_whole() {
        let network: Network = "delay=30ms,rate=1M".parse().unwrap();
        let to = echo().await;
        let way = network
            .way_to(to.ip().to_string(), to.port(), 0)
            .await
            .unwrap();
        let began = Instant::now();
        let mut stream = TcpStream::connect(way.address()).await.unwrap();
        let sent: Vec<u8> = (0..100_000_u32).map(|nth| nth.to_le_bytes()[0]).collect();
        let mut received = vec![0; sent.len()];
        let (mut read, mut write) = stream.split();
        let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut received));
        wrote.unwrap();
        got.unwrap();
        assert_eq!(received, sent);
        // The handshake, both ways, and a tenth of a second for each hundred thousand bytes.
        assert!(
            began.elapsed() >= ms(60 + 60 + 100),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test]
    async fn connections_are_cut_and_refused_ones_end() {
        let network: Network = "delay=1ms,cut=20ms".parse().unwrap();
        let to = echo().await;
        let way = network
            .way_to(to.ip().to_string(), to.port(), 0)
            .await
            .unwrap();
        let mut stream = TcpStream::connect(way.address()).await.unwrap();
        assert!(stream.read_u8().await.is_err());
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let way = network
            .way_to("127.0.0.1".to_owned(), port, 0)
            .await
            .unwrap();
        let mut stream = TcpStream::connect(way.address()).await.unwrap();
        assert!(stream.read_u8().await.is_err());
    }
}
