//! A way through a network: a TCP proxy that delays, slows down, freezes and cuts what passes through it.
//! What the bytes mean it does not know.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Freeze, Network};

/// How many pieces may be on their way in each direction of a connection. Who sends more has to wait.
const ON_THE_WAY: usize = 1_024;
/// The largest piece.
const PIECE: usize = 16 << 10;

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

#[cfg(test)]
mod tests {
    use super::{super::ms, *};

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
