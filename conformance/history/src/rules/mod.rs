//! What must hold of any history: one module for each rule.

mod answers;
mod artifacts;
mod audience;
mod bounded;
mod cell;
mod duplicate;
mod isolation;
mod loss;
mod message;
mod methods;
mod news;
mod parts;
mod posted;
mod restart;
mod rows;
mod rpc;
mod sending;
mod seq;
mod shapes;
mod usage;
mod versioned;
mod versions;

use std::time::Duration;

use crate::{
    account::Accounts,
    finding::Findings,
    judge::{Keeps, Knowledge},
    story::Happening,
};

/// A rule, for people.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Whether it needs to know everybody who acts on an account.
    pub needs: Knowledge,
    /// What must hold, as sentences.
    pub text: &'static str,
}

/// All rules.
pub static RULES: &[&Rule] = &[
    &versions::RULE,
    &message::RULE,
    &sending::RULE,
    &audience::RULE,
    &duplicate::RULE,
    &loss::RULE,
    &answers::RULE,
    &seq::RULE,
    &isolation::RULE,
    &rpc::RULE,
    &artifacts::RULE,
    &usage::RULE,
    &rows::RULE,
    &restart::RULE,
    &shapes::RULE,
];

#[derive(Debug)]
pub(crate) struct Rules {
    knowledge: Knowledge,
    /// Whether everything is seen, over all restarts.
    is_whole: bool,
    /// Whether what arrives may have no cause in the history.
    is_contrived: bool,
    versions: versions::Versions,
    message: message::Messages,
    sending: sending::Sending,
    audience: audience::Audience,
    duplicate: duplicate::Duplicates,
    loss: loss::Loss,
    answers: answers::Answers,
    seq: seq::Seqs,
    /// What has to hold from one life of a server to the next.
    restart: restart::Restart,
    isolation: isolation::Isolation,
    rpc: rpc::Rpc,
    artifacts: artifacts::Artifacts,
    usage: usage::Usage,
    rows: rows::OwnRows,
    shapes: shapes::Shapes,
}

impl Rules {
    pub(crate) fn new(knowledge: Knowledge) -> Self {
        Self {
            knowledge,
            is_whole: knowledge == Knowledge::Complete,
            is_contrived: false,
            versions: versions::Versions::default(),
            message: message::Messages::default(),
            sending: sending::Sending::default(),
            audience: audience::Audience::default(),
            duplicate: duplicate::Duplicates::default(),
            loss: loss::Loss::default(),
            answers: answers::Answers::default(),
            seq: seq::Seqs::default(),
            restart: restart::Restart::default(),
            isolation: isolation::Isolation::default(),
            rpc: rpc::Rpc::default(),
            artifacts: artifacts::Artifacts::default(),
            usage: usage::Usage::default(),
            rows: rows::OwnRows::default(),
            shapes: shapes::Shapes::default(),
        }
    }

    /// How long the server lets the callee of an RPC be silent, where that is known.
    pub(crate) fn rpc_timeout(&mut self, time: Duration) {
        self.rpc.waits(time);
    }

    pub(crate) fn hear(
        &mut self,
        happening: &Happening<'_>,
        accounts: &Accounts,
        findings: &mut Findings,
    ) {
        match happening {
            Happening::Dropped => {
                self.knowledge = Knowledge::Partial;
                self.is_whole = false;
            }
            Happening::Contrived => self.is_contrived = true,
            _ => {}
        }
        if self.is_contrived {
            return;
        }
        if self.is_whole {
            self.restart.hear(happening, accounts, findings);
        }
        // What was under way is open, and what a server may forget is no longer known.
        if let Happening::Restarted(..) = happening {
            *self = Self {
                restart: std::mem::take(&mut self.restart),
                is_whole: self.is_whole,
                ..Self::new(Knowledge::Partial)
            };
            return;
        }
        self.versions
            .hear(happening, self.knowledge, accounts, findings);
        self.message.hear(happening, accounts, findings);
        self.audience.hear(happening, findings);
        self.shapes
            .hear(happening, self.knowledge, accounts, findings);
        self.duplicate.hear(happening, accounts, findings);
        self.isolation.hear(happening, accounts, findings);
        if self.knowledge == Knowledge::Complete {
            self.sending.hear(happening, accounts, findings);
            self.loss.hear(happening, accounts, findings);
            self.rpc.hear(happening, accounts, findings);
            self.artifacts.hear(happening, accounts, findings);
            self.usage.hear(happening, accounts, findings);
            self.rows.hear(happening, accounts, findings);
            self.answers.hear(happening, accounts, findings);
            self.seq.hear(happening, accounts, findings);
        }
    }

    pub(crate) fn keeps(&self) -> Option<Keeps> {
        self.restart.keeps()
    }

    /// What was under way at the end may still be on its way: nothing is lost yet.
    pub(crate) fn finish(&mut self, accounts: &Accounts, findings: &mut Findings) {
        if self.knowledge == Knowledge::Complete && !self.is_contrived {
            self.versions.settle(findings);
            self.sending.settle(accounts, findings);
            self.seq.settle(findings);
            self.rpc.settle(findings);
        }
    }
}
