//! Filters of what is selected, in the list and in the side pane.

use crate::event::Kind;
use crate::filter::Clause;
use crate::help;
use crate::keys::Action;
use crate::model::side::Thing;
use crate::model::{Focus, Model, Narrowing};

impl Model {
    /// What the selection can be chosen by.
    fn clauses(&self) -> Vec<Clause> {
        if self.focus != Focus::Side {
            let entry = self.selected();
            return entry.map_or_else(Vec::new, |entry| Clause::of_entry(entry));
        }
        match self.cursor().thing() {
            // Those that are counted together have nothing in common.
            None | Some(Thing::Type(Kind::Note, _)) => Vec::new(),
            Some(Thing::Type(kind, name)) => vec![Clause::of_type(*kind, name)],
            Some(Thing::Account(account)) => vec![Clause::of_account(account)],
            Some(Thing::Connection(account, conn)) => {
                let scope = self.connections.scope(account, conn);
                let mut clauses = vec![Clause::of_connection(conn)];
                clauses.extend(scope.and_then(Clause::of_scope));
                clauses.push(Clause::of_account(account));
                clauses
            }
            Some(Thing::Call(link)) => {
                let method = self.calls.get(*link).map(|call| &*call.method);
                let method = method.filter(|method| !method.is_empty());
                let mut clauses: Vec<_> = method.map(Clause::of_method).into_iter().collect();
                clauses.push(Clause::of_link(*link));
                clauses
            }
        }
    }

    /// Shows only what is as the selection. Once more, it is the next thing that counts, and after the
    /// last one the filter is what it was.
    pub(super) fn only(&mut self, before: Option<Narrowing>) {
        let narrowing = match before {
            Some(mut narrowing) => {
                narrowing.step += 1;
                narrowing
            }
            None => Narrowing {
                base: self.filter.text().to_owned(),
                clauses: self.clauses(),
                step: 0,
            },
        };
        self.filter_by(&narrowing.base);
        let again = help::hint(&self.keys, Action::Only).map_or_else(String::new, |(key, _)| key);
        match (
            narrowing.clauses.get(narrowing.step),
            narrowing.clauses.first(),
        ) {
            (Some(clause), _) => {
                let replaced = match self.filter.is_text() {
                    true => " instead of the text",
                    false => "",
                };
                self.filter_by(&self.filter.narrowed(clause, false));
                let next = match narrowing.clauses.get(narrowing.step + 1) {
                    Some(next) => format!("only {}", next.about),
                    None => "as before".to_owned(),
                };
                self.say(format!(
                    "only {}{replaced}; {again} again: {next}",
                    clause.about
                ));
                self.narrowing = Some(narrowing);
            }
            (None, Some(_)) => self.say("the filter is as before"),
            (None, None) => self.say("nothing is selected that makes a filter"),
        }
    }

    /// Hides what is as the selection.
    pub(super) fn hide(&mut self) {
        match self.clauses().first() {
            Some(clause) => {
                self.filter_by(&self.filter.narrowed(clause, true));
                self.say(format!("{} is hidden", clause.about));
            }
            None => self.say("nothing is selected that makes a filter"),
        }
    }
}
