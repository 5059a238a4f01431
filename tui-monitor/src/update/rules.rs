//! The rules of a proxy: what is done to which messages.

use crate::event::{Effect, Order, Rule};
use crate::filter::Clause;
use crate::keys::Action;
use crate::model::prompt::{DO, Prompt, Purpose};
use crate::model::{Dialog, Model};

impl Model {
    /// The rules are these now. Connections that were opened before there was a rule are not looked at.
    pub(super) fn rules(&mut self, rules: Vec<Rule>) {
        if self.rules.as_ref().is_some_and(Vec::is_empty) && !rules.is_empty() {
            self.say("the first rule: it is for connections that are opened from now on");
        }
        if let Some(Dialog::Rules { cursor }) = &mut self.dialog {
            *cursor = (*cursor).min(rules.len().saturating_sub(1));
        }
        self.rules = Some(rules);
    }

    /// What a key means for the rule at the cursor. A new one begins as the selected event is.
    pub(super) fn change_rules(
        &mut self,
        cursor: usize,
        action: Action,
        effects: &mut Vec<Effect>,
    ) {
        if action == Action::Discard {
            if self
                .rules
                .as_ref()
                .is_some_and(|rules| cursor < rules.len())
            {
                effects.push(Effect::Order(Order::RemoveRule(cursor)));
            }
            return;
        }
        let clauses = self.selected().map(|entry| Clause::of_entry(entry));
        let clause = clauses.and_then(|clauses| clauses.into_iter().next());
        let when = clause.map_or_else(|| "type == \"message\"".to_owned(), |clause| clause.only);
        self.prompt = Some(Prompt::new(Purpose::Rule, &format!("{when}{DO}hold")));
    }
}
