//! Which connections and requests are of one account.
//!
//! A trace shows no token, but a name for each (`a1…`). An account may have several tokens: who signs in
//! again with the same key, or is paired with a terminal, has one more.

use std::collections::HashMap;

use serde_json::Value;
use touchstone_client::trace::Exchange;

/// An account, as far as a history tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Account(u32);

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    /// By the name of a token, a public key (`key:…`), or a connection of nobody known (`conn:…`).
    names: HashMap<String, u32>,
    /// What each was found to be the same as, itself where nothing else is known.
    parents: Vec<u32>,
    /// Whether it is known by its public key.
    has_key: Vec<bool>,
}

impl Accounts {
    /// The account of what a trace shows in place of a token. Only the names that a recorder gives tell
    /// accounts apart; of another text nothing is known but the connection.
    pub(crate) fn of_token(&mut self, shown: Option<&str>, conn: &str) -> Account {
        match shown.and_then(label) {
            Some(label) => self.named(label),
            None => self.named(&format!("conn:{conn}")),
        }
    }

    /// Learns from an exchange which tokens are of one account.
    pub(crate) fn learn(&mut self, caller: Option<Account>, path: &str, exchange: &Exchange) {
        let key = exchange
            .request
            .as_ref()
            .and_then(|body| body.get("publicKey"));
        let Some(key) = key.and_then(Value::as_str) else {
            return;
        };
        let token = exchange
            .response
            .as_ref()
            .and_then(|body| body.get("token"));
        let token = token.and_then(Value::as_str).and_then(label);
        match path {
            "/v1/auth" => {
                if let Some(label) = token {
                    let (key, token) = (self.named(&format!("key:{key}")), self.named(label));
                    self.has_key[key.0 as usize] = true;
                    self.join(key, token);
                }
            }
            // A terminal is paired: whoever answers the request gives it a token of its own account.
            "/v1/auth/response" | "/v1/auth/account/response" => {
                if let Some(caller) = caller {
                    let asked = self.named(&format!("asked:{key}"));
                    self.join(asked, caller);
                }
            }
            "/v1/auth/request" | "/v1/auth/account/request" => {
                if let Some(label) = token {
                    let (asked, token) = (self.named(&format!("asked:{key}")), self.named(label));
                    self.join(asked, token);
                }
            }
            _ => {}
        }
    }

    /// The account that stands for all that were found to be this one.
    pub(crate) fn root(&self, account: Account) -> Account {
        let mut at = account.0;
        while self.parents[at as usize] != at {
            at = self.parents[at as usize];
        }
        Account(at)
    }

    /// Whether it is known by its key: of another one nobody knows whether a second token is its own, too.
    pub(crate) fn is_known(&self, account: Account) -> bool {
        self.has_key[self.root(account).0 as usize]
    }

    /// Whether both are known by keys, and those are different: only then are they surely two.
    pub(crate) fn are_surely_two(&self, one: Account, other: Account) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        one != other && self.is_known(one) && self.is_known(other)
    }

    pub(crate) fn named(&mut self, name: &str) -> Account {
        if let Some(at) = self.names.get(name) {
            return self.root(Account(*at));
        }
        let at = u32::try_from(self.parents.len()).unwrap_or(u32::MAX);
        self.names.insert(name.to_owned(), at);
        self.parents.push(at);
        self.has_key.push(false);
        Account(at)
    }

    fn join(&mut self, one: Account, other: Account) {
        let (one, other) = (self.root(one), self.root(other));
        if one != other {
            self.parents[other.0 as usize] = one.0;
            self.has_key[one.0 as usize] |= self.has_key[other.0 as usize];
        }
    }
}

/// `a1` of `a1…` and of `http/a1`.
pub(crate) fn label(shown: &str) -> Option<&str> {
    let name = shown.strip_suffix('…').unwrap_or(shown);
    let digits = name.strip_prefix('a')?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange(request: Value, response: Value) -> Exchange {
        Exchange {
            method: "POST".to_owned(),
            url: String::new(),
            status: Some(200),
            request: Some(request),
            response: Some(response),
            ms: 1,
            us: None,
        }
    }

    #[test]
    fn tokens_of_one_key_are_of_one_account() {
        let mut accounts = Accounts::default();
        for (key, token) in [("k1", "a1…"), ("k2", "a2…"), ("k1", "a3…")] {
            let signed_in = exchange(json!({"publicKey": key}), json!({"token": token}));
            accounts.learn(None, "/v1/auth", &signed_in);
        }
        let [one, two, three] =
            ["a1…", "a2…", "a3…"].map(|token| accounts.of_token(Some(token), "c"));
        assert_eq!(accounts.root(one), accounts.root(three));
        assert!(accounts.are_surely_two(one, two));
        let unknown = accounts.of_token(Some("eyJhbG…"), "c");
        assert!(!accounts.are_surely_two(one, unknown));
    }

    #[test]
    fn a_paired_terminal_is_of_the_account_that_answered_it() {
        let mut accounts = Accounts::default();
        let phone = accounts.of_token(Some("a1…"), "c");
        let answer = exchange(
            json!({"publicKey": "t", "response": "r"}),
            json!({"success": true}),
        );
        accounts.learn(Some(phone), "/v1/auth/response", &answer);
        let polled = exchange(
            json!({"publicKey": "t"}),
            json!({"state": "authorized", "token": "a2…"}),
        );
        accounts.learn(None, "/v1/auth/request", &polled);
        let terminal = accounts.of_token(Some("a2…"), "d");
        assert_eq!(accounts.root(terminal), accounts.root(phone));
    }
}
