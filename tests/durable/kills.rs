//! Kill, start again, compare: round after round on the same database.

use std::pin::pin;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;

use crate::served::{Served, within};
use crate::writer::Writer;

/// Writers that write at the same time.
const WRITERS: u8 = 6;
/// A round ends after so many acknowledgements, at most.
const MOST: u64 = 150;

/// Kills a server so often while it is written to.
pub(crate) async fn rounds(database: &str, rounds: u32) {
    let mut random = StdRng::seed_from_u64(7);
    let mut served = Served::start(database).await;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        writers.push(Writer::new(&served, number).await);
    }
    for _ in 0..rounds {
        let enough = random.random_range(1..=MOST);
        write_until_killed(&served, &mut writers, enough).await;
        served.gone().await;
        served = Served::start(database).await;
        join_all(writers.iter_mut().map(|writer| writer.compare(&served))).await;
    }
    served.stop().await;
}

/// Lets all write, kills the server when enough is acknowledged, and waits until all have noticed.
async fn write_until_killed(served: &Served, writers: &mut [Writer], enough: u64) {
    let (acknowledged, mut count) = watch::channel(0);
    let writing = writers
        .iter_mut()
        .map(|writer| writer.write(served, &acknowledged));
    let mut writing = pin!(join_all(writing));
    tokio::select! {
        _ = &mut writing => panic!("the server ended by itself"),
        reached = within("progress", count.wait_for(|count| *count >= enough)) => {
            reached.expect("a counter");
        }
    }
    served.kill();
    within("end of all writers", writing).await;
}
