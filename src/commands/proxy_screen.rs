//! What the screen of a proxy has besides that of `watch`: messages that are held, rules that are made, and
//! what clients do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use touchstone_client::Clock;
use touchstone_proxy::Held;
use touchstone_tui_monitor::event::{self, Entry, Input, Order, Verdict};

use super::proxy_inspect::Inspection;
use super::proxy_rules::Rules;

/// How often it is looked for what has changed.
const EVERY: Duration = Duration::from_millis(500);
/// How many messages, and how many orders, may wait.
pub(crate) const WAITING: usize = 64;

/// A held message, and what it would be on the screen.
pub(crate) struct Holding {
    pub(crate) held: Held,
    pub(crate) entry: Entry,
}

/// Where it all comes from.
pub(crate) struct Aside {
    pub(crate) holdings: mpsc::Receiver<Holding>,
    pub(crate) rules: Rules,
    pub(crate) inspection: Arc<Mutex<Inspection>>,
}

/// Tells the screen of it until nobody gives orders any more; what is held then goes on.
pub(crate) async fn attend(
    mut aside: Aside,
    mut orders: mpsc::Receiver<Order>,
    told: mpsc::Sender<Input>,
) {
    let mut held = BTreeMap::new();
    let mut count = 0;
    let mut shown = Vec::new();
    let mut rules = None;
    let mut looks = interval(EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let inputs = tokio::select! {
            Some(Holding { held: one, mut entry }) = aside.holdings.recv() => {
                count += 1;
                entry.number = count;
                entry.at_ms = Clock::System.unix_ms();
                let text = one.text.clone();
                held.insert(count, one);
                vec![Input::Held(Box::new(event::Held { entry: entry.into(), text }))]
            }
            order = orders.recv() => match order {
                None => return,
                Some(Order::Decide(number, verdict)) => vec![decide(&mut held, number, verdict)],
                Some(Order::AddRule(text)) => match aside.rules.add(&text) {
                    Ok(()) => changed(&aside.rules, &mut rules),
                    Err(why) => vec![Input::NoRule { text, why }],
                },
                Some(Order::RemoveRule(at)) => {
                    aside.rules.remove(at);
                    changed(&aside.rules, &mut rules)
                }
            },
            _ = looks.tick() => {
                let over = held.extract_if(.., |_, one: &mut Held| one.is_over());
                let mut inputs: Vec<_> = over.map(|(number, _)| Input::Over(number)).collect();
                let inspection = aside.inspection.lock();
                let card = inspection.unwrap_or_else(PoisonError::into_inner).card();
                if card != shown {
                    shown.clone_from(&card);
                    inputs.push(Input::Card(card));
                }
                inputs.extend(changed(&aside.rules, &mut rules));
                inputs
            }
        };
        for input in inputs {
            if told.send(input).await.is_err() {
                return;
            }
        }
    }
}

/// The rules, where the screen does not show them so already.
fn changed(rules: &Rules, shown: &mut Option<Vec<event::Rule>>) -> Vec<Input> {
    let now = rules.shown();
    if shown.as_ref() == Some(&now) {
        return Vec::new();
    }
    vec![Input::Rules(shown.insert(now).clone())]
}

fn decide(held: &mut BTreeMap<u64, Held>, number: u64, verdict: Verdict) -> Input {
    match (held.remove(&number), verdict) {
        (None, _) => {}
        (Some(one), Verdict::Release) => one.release(),
        (Some(one), Verdict::Discard) => one.discard(),
        (Some(one), Verdict::Replace(text)) => {
            if let Err((one, why)) = one.replace(&text) {
                held.insert(number, *one);
                return Input::Done(Err(format!("still held: {why}")));
            }
        }
    }
    Input::Over(number)
}
