//! The running server as the seams see it.

use std::sync::Arc;

use crate::app::App;
use crate::config::Config;
use crate::connection::Connection;
use crate::seams::{Effects, RunningServer};
use crate::store::{Account, PublicKey};

impl RunningServer for App {
    fn accounts(&self) -> Vec<Arc<Account>> {
        self.store.accounts()
    }

    fn account(&self, id: &str) -> Option<Arc<Account>> {
        self.store.account(id)
    }

    fn account_of_token(&self, token: &str) -> Option<Arc<Account>> {
        self.store.account_of_token(token)
    }

    fn sign_in(&self, key: PublicKey) -> Arc<Account> {
        self.signed_in(key).0
    }

    fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.all()
    }

    fn config(&self) -> &Config {
        &self.config
    }

    fn now(&self) -> i64 {
        self.now()
    }

    fn happen(self: Arc<Self>, account: &Arc<Account>, effects: Effects) {
        App::happen(&self, account, effects);
    }

    fn end(&self) {
        self.stop.cancel();
    }
}
