//! Provisioning from a TOML file with ready accounts, for servers that cannot make them on
//! request. `client/samples/target.toml` is a commented sample.
//!
//! Everything listed is handed out once, in the order of the file, so that cases stay
//! independent; running out is an error that says how many were needed.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use serde_json::Value;

use super::{Account, Made, ProvisionError};
use crate::Secret;
use touchstone_output::{suggest::problem, text::plural};

/// A target file, and what of it has been handed out.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    accounts: Vec<Listed>,
    used: Mutex<Used>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    #[serde(default)]
    accounts: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Listed {
    token: Secret,
    id: Option<String>,
    #[serde(default)]
    sessions: Vec<String>,
    #[serde(default)]
    machines: Vec<String>,
    #[serde(default)]
    access_keys: Vec<ListedKey>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedKey {
    session: String,
    machine: String,
    data: String,
}

/// How many of each have been asked for; of sessions and machines by account.
#[derive(Debug, Default)]
struct Used {
    accounts: usize,
    sessions: HashMap<usize, usize>,
    machines: HashMap<usize, usize>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no target file.
    pub fn read(path: &Path) -> Result<Self, ProvisionError> {
        let text = std::fs::read_to_string(path).map_err(|source| ProvisionError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Parses the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// It is no target file.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ProvisionError> {
        let listing: Listing = toml::from_str(text).map_err(|error| ProvisionError::Syntax {
            path: path.to_owned(),
            // Without the line itself, which may hold a token.
            problem: problem(text, error.span().map(|at| at.start), error.message()),
        })?;
        let used = Mutex::new(Used::default());
        Ok(Self {
            path: path.to_owned(),
            accounts: listing.accounts,
            used,
        })
    }

    /// The next account.
    ///
    /// # Errors
    /// There is none left.
    pub fn account(&self) -> Result<Account, ProvisionError> {
        let index = bump(&mut self.used().accounts);
        let listed = self
            .accounts
            .get(index)
            .ok_or_else(|| self.not_enough("accounts".to_owned(), self.accounts.len(), index))?;
        Ok(Account {
            token: listed.token.clone(),
            id: listed.id.clone(),
        })
    }

    /// The account's next session.
    ///
    /// # Errors
    /// There is none left, or the account is not of this file.
    pub fn session(&self, account: &Account) -> Result<Made, ProvisionError> {
        let (number, listed) = self.find(account)?;
        let index = bump(self.used().sessions.entry(number).or_default());
        self.nth("sessions", number, &listed.sessions, index)
    }

    /// The account's next machine.
    ///
    /// # Errors
    /// There is none left, or the account is not of this file.
    pub fn machine(&self, account: &Account) -> Result<Made, ProvisionError> {
        let (number, listed) = self.find(account)?;
        let index = bump(self.used().machines.entry(number).or_default());
        self.nth("machines", number, &listed.machines, index)
    }

    /// The data of the access key that is listed for a session and a machine.
    ///
    /// # Errors
    /// None is listed, or the account is not of this file.
    pub fn access_key(
        &self,
        account: &Account,
        session: &str,
        machine: &str,
    ) -> Result<String, ProvisionError> {
        let (_, listed) = self.find(account)?;
        let key = listed
            .access_keys
            .iter()
            .find(|k| k.session == session && k.machine == machine);
        key.map(|key| key.data.clone())
            .ok_or_else(|| ProvisionError::Unsupported {
                what: format!("an access key for session {session} and machine {machine}"),
                reason: format!("{} lists none", self.path.display()),
            })
    }

    /// What has been asked for beyond what is listed, in one sentence; nothing where it was enough.
    /// Whoever is refused one thing asks for nothing further, so that these are the least numbers.
    pub fn shortage(&self) -> Option<String> {
        let used = self.used();
        let lack = |needed: usize, listed: usize, what: &str, of: &str| {
            let needed_things = plural(needed as u64, what);
            (needed > listed).then(|| format!("{needed_things}{of} ({listed} listed)"))
        };
        let most = |asked: &HashMap<usize, usize>, what, listed: fn(&Listed) -> usize| {
            let each = asked.iter().filter_map(|(&number, &asked)| {
                let listed = listed(self.accounts.get(number)?);
                (asked > listed).then_some((asked, listed))
            });
            let (asked, listed) = each.max()?;
            lack(asked, listed, what, " for each account")
        };
        let lacks: Vec<_> = [
            lack(used.accounts, self.accounts.len(), "account", ""),
            most(&used.sessions, "session", |listed| listed.sessions.len()),
            most(&used.machines, "machine", |listed| listed.machines.len()),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!lacks.is_empty()).then(|| {
            let path = self.path.display();
            format!(
                "{path} lists too little; needed are at least {}",
                lacks.join(", ")
            )
        })
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, account: &Account) -> Result<(usize, &Listed), ProvisionError> {
        let mut listed = self.accounts.iter().enumerate();
        listed
            .find(|(_, listed)| listed.token == account.token)
            .ok_or_else(|| ProvisionError::Unsupported {
                what: format!("the account with token {}", account.token),
                reason: format!("{} does not list it", self.path.display()),
            })
    }

    fn nth(
        &self,
        what: &str,
        number: usize,
        ids: &[String],
        index: usize,
    ) -> Result<Made, ProvisionError> {
        let of = || format!("{what} of account {}", number + 1);
        let id = ids
            .get(index)
            .ok_or_else(|| self.not_enough(of(), ids.len(), index))?;
        Ok(Made {
            id: id.clone(),
            record: Value::Null,
        })
    }

    fn not_enough(&self, what: String, listed: usize, index: usize) -> ProvisionError {
        ProvisionError::NotEnough {
            path: self.path.clone(),
            what,
            listed,
            needed: index + 1,
        }
    }
}

fn bump(counter: &mut usize) -> usize {
    let index = *counter;
    *counter += 1;
    index
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../samples/target.toml");

    fn parse(text: &str) -> Result<File, ProvisionError> {
        File::parse(Path::new("target.toml"), text)
    }

    #[test]
    fn the_sample_hands_out_what_it_lists_once_and_in_order() {
        let file = parse(SAMPLE).unwrap();
        let first = file.account().unwrap();
        assert_eq!(first.token.expose(), "token-of-the-first-account");
        assert_eq!(first.id.as_deref(), Some("account-1"));
        assert_eq!(file.session(&first).unwrap().id, "session-1a");
        assert_eq!(file.session(&first).unwrap().id, "session-1b");
        assert_eq!(file.machine(&first).unwrap().id, "machine-1a");
        assert_eq!(
            file.access_key(&first, "session-1a", "machine-1a").unwrap(),
            "a2V5"
        );
        let second = file.account().unwrap();
        assert_eq!(second.id, None);
        assert_eq!(file.session(&second).unwrap().id, "session-2a");
    }

    #[test]
    fn running_out_says_how_many_were_needed() {
        let file = parse("[[accounts]]\ntoken = 'abc'\nsessions = ['s']\n").unwrap();
        let account = file.account().unwrap();
        file.session(&account).unwrap();
        let errors = [
            file.session(&account).unwrap_err(),
            file.session(&account).unwrap_err(),
            file.machine(&account).unwrap_err(),
            file.account().unwrap_err(),
            file.access_key(&account, "s", "m").unwrap_err(),
        ];
        insta::assert_snapshot!(errors.map(|e| e.to_string()).join("\n"), @r"
        too few sessions of account 1 in target.toml: 2 needed so far, 1 listed; add more to it
        too few sessions of account 1 in target.toml: 3 needed so far, 1 listed; add more to it
        too few machines of account 1 in target.toml: 1 needed so far, 0 listed; add more to it
        too few accounts in target.toml: 2 needed so far, 1 listed; add more to it
        an access key for session s and machine m is not supported: target.toml lists none
        ");
        insta::assert_snapshot!(file.shortage().unwrap(), @"target.toml lists too little; needed are at least 2 accounts (1 listed), 3 sessions for each account (1 listed), 1 machine for each account (0 listed)");
        let enough = parse(SAMPLE).unwrap();
        enough.session(&enough.account().unwrap()).unwrap();
        assert_eq!(enough.shortage(), None);
    }

    #[test]
    fn what_is_no_target_file_is_told_with_its_line_and_a_suggestion() {
        let rows = [
            "[[accounts]]\ntokn = 'abc'",
            "[[acounts]]\ntoken = 'abc'",
            "[[accounts]]\ntoken = 'abc'\n[[accounts.access-keys]]\nsession = 's'\nmachin = 'm'",
            "[[accounts]]\nid = 'a'",
            "[[accounts]]\ntoken = 'abc'\nzzz = 1",
            "[[accounts]]\ntoken = 12345678",
            "[[accounts",
        ];
        let told = rows.map(|text| parse(text).unwrap_err().to_string());
        insta::assert_snapshot!(told.join("\n"));
    }
}
