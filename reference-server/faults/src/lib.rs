//! The reference server made wrong on purpose, or right in another way, in one named way at a time.
//!
//! It exists so that a conformance suite can be shown to catch what it claims to catch. The server
//! itself is right and knows no fault: everything here acts through its
//! [seams](touchstone_reference_server::seams), after the right behaviour has been decided. What a fault
//! has to remember is kept here, in [`Faults`], and never in the server.
//!
//! # Adding a fault
//!
//! 1. A line in `table.rs`: a variant, the name on the command line, what goes wrong in one sentence;
//!    `[every N]` for one that acts on each N-th occasion.
//! 2. Its effect, in the module of the seam where it acts, as a row of the table there if one fits:
//!    `admission.rs` (who is let in), `call.rs` (what comes in), `numbers.rs` (what is counted),
//!    `payload.rs` (what events say), `routing.rs` (who receives them),
//!    `answer.rs` (acknowledgements), `http.rs` (statuses and bodies), `send.rs` (packets). Each is a
//!    [`Seams`] of its own, and all of them one `Chain`. A method of [`Seams`] that no module here
//!    implements yet gets a module of its own, listed in `Faults::parts`.
//! 3. `cargo test --test faults -- --ignored`, which measures the cases that catch it. A fault that no
//!    case catches is either a missing case or not a fault; those of `Histories` and `Storage` are explored.
//!
//! # Liberties
//!
//! A liberty is a legitimate difference: it takes the same seams, stands in a table of its own, and
//! must make no case fail. The module `liberties` says how to add one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use touchstone_reference_server::Config;
use touchstone_reference_server::seams::{Account, Seams, Server};

mod admission;
mod answer;
mod call;
mod calls;
mod chain;
mod first_moment;
mod http;
mod late;
mod liberties;
mod memory;
mod numbers;
mod outcome;
mod pages;
mod payload;
mod records;
mod routing;
mod rpc;
mod send;
mod settings;
mod storage;
mod table;

use chain::Chain;
pub use liberties::{Liberties, LibertyError, LibertyInfo, liberties};
use memory::Memory;
use records::Records;
use table::{DEFAULTS, Fault, TABLE};

/// Declares the faults: per part of the protocol, a variant, a name, perhaps a default argument, and
/// what goes wrong.
macro_rules! list {
    ($($layer:literal {
        $($variant:ident $name:literal $([every $default:literal])? $description:literal)*
    })*) => {
        /// One wrong behaviour. The table in this module says which.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault { $($($variant,)*)* }

        pub(crate) const TABLE: &[FaultInfo] = &[$($(FaultInfo {
            layer: $layer,
            name: $name,
            description: $description,
            argument: if 0 $(+ $default)? == 0_u64 { None } else { Some("N") },
        },)*)*];

        pub(crate) const DEFAULTS: &[u64] = &[$($(0 $(+ $default)?,)*)*];
    };
}
pub(crate) use list;

/// All faults that exist, for lists, part by part.
#[must_use]
pub fn faults() -> &'static [FaultInfo] {
    TABLE
}

/// A fault as people see it in lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultInfo {
    /// The part of the protocol that it is about, as a heading.
    pub layer: &'static str,
    /// The name that turns it on.
    pub name: &'static str,
    /// What goes wrong, in one sentence.
    pub description: &'static str,
    /// The name of its optional argument, as in `name[=argument]`.
    pub argument: Option<&'static str>,
}

/// Why a list of faults cannot be turned on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// There is no fault of that name.
    #[error("unknown fault {0:?}")]
    Unknown(String),
    /// The fault takes no argument.
    #[error("fault {0} takes no argument")]
    NoArgument(&'static str),
    /// The argument is not a positive whole number.
    #[error("fault {name}: {argument:?} is not a whole number from 1")]
    BadArgument {
        /// The fault.
        name: &'static str,
        /// What was given.
        argument: String,
    },
}

/// The faults that are turned on; clones share their counters.
#[derive(Clone, Debug)]
pub struct Faults {
    active: Arc<Active>,
}

#[derive(Debug)]
struct Active {
    /// Per fault: 0 when off, else its argument (1 for those without).
    every: [u64; TABLE.len()],
    occasions: [AtomicU64; TABLE.len()],
    memory: Mutex<Memory>,
    records: Mutex<Records>,
}

impl Faults {
    /// Turns on faults by name, each as `name` or `name=N`.
    ///
    /// # Errors
    /// When a name or an argument is wrong.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, FaultError> {
        let mut every = [0; TABLE.len()];
        for text in names {
            let (name, argument) = match text.split_once('=') {
                Some((name, argument)) => (name, Some(argument)),
                None => (text, None),
            };
            let index = TABLE
                .iter()
                .position(|fault| fault.name == name)
                .ok_or_else(|| FaultError::Unknown(name.to_owned()))?;
            every[index] = match argument {
                None => DEFAULTS[index].max(1),
                Some(_) if TABLE[index].argument.is_none() => {
                    return Err(FaultError::NoArgument(TABLE[index].name));
                }
                Some(argument) => argument.parse().ok().filter(|&n| n > 0).ok_or_else(|| {
                    FaultError::BadArgument {
                        name: TABLE[index].name,
                        argument: argument.to_owned(),
                    }
                })?,
            };
        }
        let occasions = std::array::from_fn(|_| AtomicU64::new(0));
        Ok(Self {
            active: Arc::new(Active {
                every,
                occasions,
                memory: Mutex::default(),
                records: Mutex::default(),
            }),
        })
    }

    /// The same settings for a server with these faults, which act after whatever takes part already.
    #[must_use]
    pub fn applied_to(self, config: Config) -> Config {
        let is_any = self.active.every.iter().any(|&every| every > 0);
        let own = if is_any { self.parts() } else { Vec::new() };
        let seams = Chain::of(config.seams.into_iter().chain(own).collect());
        Config { seams, ..config }
    }

    /// What takes part at the seams.
    fn parts(self) -> Vec<Arc<dyn Seams>> {
        vec![
            Arc::new(settings::Settings(self.clone())),
            Arc::new(records::Refusals(self.clone())),
            Arc::new(admission::Admissions(self.clone())),
            Arc::new(call::Calls(self.clone())),
            Arc::new(late::LateEvents::new(self.clone())),
            Arc::new(payload::Payloads(self.clone())),
            Arc::new(outcome::Outcomes(self.clone())),
            Arc::new(numbers::Numbers(self.clone())),
            Arc::new(rpc::Callees(self.clone())),
            Arc::new(routing::Routes(self.clone())),
            Arc::new(calls::Results(self.clone())),
            Arc::new(answer::Answers(self.clone())),
            Arc::new(send::Packets(self.clone())),
            Arc::new(http::Http(self.clone())),
            Arc::new(pages::Pages(self)),
        ]
    }

    /// Whether a fault is turned on.
    pub(crate) fn on(&self, fault: Fault) -> bool {
        self.active.every[fault as usize] > 0
    }

    /// What the faults remember.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        let memory = self.active.memory.lock();
        memory.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of rows and of what was refused.
    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        let records = self.active.records.lock();
        records.unwrap_or_else(PoisonError::into_inner)
    }

    /// The argument of a fault that is turned on.
    pub(crate) fn argument(&self, fault: Fault) -> u64 {
        self.active.every[fault as usize]
    }

    /// Whose a name is that a fault takes for one name of all accounts: that of the first who asks.
    /// `None` if the fault is off.
    pub(crate) fn owner(&self, fault: Fault, name: &str, asking: &str) -> Option<String> {
        self.on(fault)
            .then(|| self.memory().owner(fault, name, asking))
    }

    /// Counts a use of a token, and tells whether it is one too many.
    pub(crate) fn is_used_up(&self, token: &str) -> bool {
        let uses = self.memory().count_use(token);
        self.on(Fault::TokenExpires) && uses > self.argument(Fault::TokenExpires)
    }

    /// An account that nobody can sign in to.
    pub(crate) fn new_account(&self, server: &Server) -> Arc<Account> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.memory().new_number().to_le_bytes());
        server.sign_in(key)
    }

    /// Tells whether a fault acts on an occasion that somebody else has counted: what an account or a
    /// session has its own numbers for is the same whatever else the server does.
    pub(crate) fn strikes_at(&self, fault: Fault, occasion: u64) -> bool {
        let every = self.active.every[fault as usize];
        every > 0 && occasion.is_multiple_of(every)
    }

    /// Counts an occasion of a fault, and tells whether it acts on this one.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let every = self.active.every[fault as usize];
        let occasion = &self.active.occasions[fault as usize];
        every > 0 && (occasion.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sorted_out() {
        let mut names: Vec<_> = faults().iter().map(|fault| fault.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), faults().len());
        for fault in faults() {
            assert!(Faults::parse([fault.name]).is_ok(), "{}", fault.name);
            assert!(
                !fault.description.is_empty() && !fault.description.ends_with('.'),
                "{}",
                fault.name
            );
        }
    }

    #[track_caller]
    fn check(name: &str, expected: &str) {
        assert_eq!(Faults::parse([name]).unwrap_err().to_string(), expected);
    }

    #[test]
    fn wrong_names_are_explained() {
        check("nope", "unknown fault \"nope\"");
        check("", "unknown fault \"\"");
        check("sid-key=3", "fault sid-key takes no argument");
        check(
            "polling-loses=0",
            "fault polling-loses: \"0\" is not a whole number from 1",
        );
        check(
            "lost-update=x",
            "fault lost-update: \"x\" is not a whole number from 1",
        );
    }

    #[test]
    fn periodic_faults_strike_each_nth_time() {
        let faults = Faults::parse(["polling-loses=3", "sid-key"]).unwrap();
        let strikes: Vec<bool> = (0..6)
            .map(|_| faults.strikes(Fault::PollingLoses))
            .collect();
        assert_eq!(strikes, [false, false, true, false, false, true]);
        assert!(faults.on(Fault::SidKey) && !faults.on(Fault::NoCreatedAt));
        assert!(!faults.strikes(Fault::UpgradeLoses));
    }

    #[test]
    fn a_shared_name_belongs_to_the_first_who_asks() {
        let faults = Faults::parse(["kv-keys-shared"]).unwrap();
        for asking in ["a", "b"] {
            let owner = faults.owner(Fault::KvKeysShared, "key", asking);
            assert_eq!(owner.as_deref(), Some("a"));
        }
    }
}
