//! Filters that the screen makes of what is selected: a condition is added to the filter that is there.

use super::{Filter, Test};
use crate::event::{Entity, Entry, Kind, Scope};

/// A condition on one field, and its opposite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clause {
    /// True for what is meant.
    pub(crate) only: String,
    /// True for everything else.
    pub(crate) hide: String,
    /// What is meant, for people.
    pub(crate) about: String,
}

impl Clause {
    /// That a field has a value.
    fn of(field: &str, value: &str) -> Self {
        let quoted = quoted(value);
        Self {
            only: format!("{field} == {quoted}"),
            hide: format!("{field} != {quoted}"),
            about: format!("{field} {value}"),
        }
    }

    /// A type of event, and where its kind does not follow from it, that kind.
    pub(crate) fn of_type(kind: Kind, name: &str) -> Self {
        let of_type = match Self::of("type", name) {
            // A type that looks like a mistyped one is compared in another way.
            clause if Filter::parse(&clause.only).is_err() => Self {
                only: format!("type.startsWith({})", quoted(name)),
                hide: format!("!type.startsWith({})", quoted(name)),
                ..clause
            },
            clause => clause,
        };
        match kind {
            Kind::Call | Kind::Ack => {
                let both = format!("kind == \"{kind}\" && {}", of_type.only);
                Self {
                    hide: format!("!({both})"),
                    only: both,
                    about: format!("kind {kind}, {}", of_type.about),
                }
            }
            _ => of_type,
        }
    }

    pub(crate) fn of_account(account: &str) -> Self {
        match account {
            "" => Self {
                about: "no account".to_owned(),
                ..Self::of("account", "")
            },
            account => Self::of("account", account),
        }
    }

    /// A connection, be it the first that got an event or a later one.
    pub(crate) fn of_connection(conn: &str) -> Self {
        let quoted = quoted(conn);
        Self {
            only: format!("(conn == {quoted} || {quoted} in receivers)"),
            about: format!("connection {conn}"),
            ..Self::of("conn", conn)
        }
    }

    /// The session or machine of a connection.
    pub(crate) fn of_scope(scope: &Scope) -> Option<Self> {
        match scope {
            Scope::Session(id) => Some(Self::of("session", id)),
            Scope::Machine(id) => Some(Self::of("machine", id)),
            Scope::User | Scope::None => None,
        }
    }

    pub(crate) fn of_method(method: &str) -> Self {
        Self::of("method", method)
    }

    /// The entries of one call.
    pub(crate) fn of_link(link: u64) -> Self {
        Self {
            only: format!("link == {link}"),
            hide: format!("link != {link}"),
            about: "this call".to_owned(),
        }
    }

    /// What an entry can be chosen by, from the widest: its type, what it is about, its connection.
    pub(crate) fn of_entry(entry: &Entry) -> Vec<Self> {
        let mut clauses = vec![match entry.kind {
            Kind::Gap | Kind::Note | Kind::Connection => Self::of("kind", entry.kind.as_str()),
            _ => Self::of_type(Kind::Update, &entry.event),
        }];
        clauses.extend(match &entry.entity {
            Some(Entity::Session(id)) => Some(Self::of("session", id)),
            Some(Entity::Machine(id)) => Some(Self::of("machine", id)),
            Some(Entity::Artifact(id)) => Some(Self::of("artifact", id)),
            Some(Entity::Method(name)) => Some(Self::of_method(name)),
            Some(Entity::Other(id)) => Some(Self::of("entity", id)),
            None => Self::of_scope(&entry.scope),
        });
        if !entry.conn.is_empty() {
            clauses.push(Self::of_connection(&entry.conn));
        }
        clauses
    }
}

fn quoted(text: &str) -> String {
    // A JSON string is one of expressions, too.
    serde_json::Value::from(text).to_string()
}

impl Filter {
    /// The text of this filter with a condition more: what it says about the same field otherwise gives
    /// way. A text to look for gives way as a whole.
    pub(crate) fn narrowed(&self, clause: &Clause, hide: bool) -> String {
        let (wanted, opposite) = match hide {
            true => (&clause.hide, &clause.only),
            false => (&clause.only, &clause.hide),
        };
        let mut parts = match self.test {
            Test::Everything | Test::Contains(_) => Vec::new(),
            Test::Expression(_) => conjuncts(&self.text),
        };
        let gone = conjuncts(opposite);
        let new = conjuncts(wanted);
        let equals = |part: &str| {
            let (field, _) = part.trim_start_matches('(').split_once(" == ")?;
            Some(field.to_owned())
        };
        let fields: Vec<_> = new.iter().filter_map(|part| equals(part)).collect();
        parts.retain(|part| {
            let is_replaced = equals(part).is_some_and(|field| fields.contains(&field));
            !gone.contains(part) && !new.contains(part) && !is_replaced
        });
        parts.extend(new);
        parts.join(" && ")
    }

    /// Whether it is a text to look for.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self.test, Test::Contains(_))
    }
}

/// The conditions that are all to be true. What holds them together otherwise is one condition, in
/// parentheses.
fn conjuncts(text: &str) -> Vec<String> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        if let Some(open) = quote {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == open => quote = None,
                _ => {}
            }
            continue;
        }
        let rest = &text[at..];
        match character {
            '"' | '\'' => quote = Some(character),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            '?' => return vec![format!("({text})")],
            _ if rest.starts_with("||") => return vec![format!("({text})")],
            _ if rest.starts_with("&&") && at >= start => {
                parts.push(text[start..at].trim().to_owned());
                start = at + 2;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim().to_owned());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::entry;

    #[track_caller]
    fn check(before: &str, clause: &Clause, hide: bool, expected: &str) {
        let filter = Filter::parse(before).unwrap();
        let narrowed = filter.narrowed(clause, hide);
        assert_eq!(narrowed, expected);
        Filter::parse(&narrowed).unwrap_or_else(|error| panic!("{narrowed}: {error}"));
    }

    #[test]
    fn a_condition_is_added_and_its_like_gives_way() {
        let message = Clause::of_type(Kind::Update, "new-message");
        let user = Clause::of_connection("a1/user");
        let answer = Clause::of_type(Kind::Ack, "update-state");
        check("", &message, false, r#"type == "new-message""#);
        check("some text", &message, false, r#"type == "new-message""#);
        check("", &message, true, r#"type != "new-message""#);
        check(
            "size > 3",
            &message,
            false,
            r#"size > 3 && type == "new-message""#,
        );
        check(
            r#"size > 3 || ack == 1"#,
            &message,
            true,
            r#"(size > 3 || ack == 1) && type != "new-message""#,
        );
        check(
            r#"type == "activity" && size > 3"#,
            &message,
            false,
            r#"size > 3 && type == "new-message""#,
        );
        check(
            r#"type != "new-message" && type != "usage""#,
            &message,
            false,
            r#"type != "usage" && type == "new-message""#,
        );
        check(
            r#"type == "new-message""#,
            &message,
            true,
            r#"type != "new-message""#,
        );
        check(
            r#"raw.contains("a && b || \" c") && type != "usage""#,
            &message,
            true,
            r#"raw.contains("a && b || \" c") && type != "usage" && type != "new-message""#,
        );
        let of_user = r#"(conn == "a1/user" || "a1/user" in receivers)"#;
        check("", &user, false, of_user);
        check(of_user, &user, false, of_user);
        check(
            of_user,
            &Clause::of_connection("a1/b"),
            false,
            r#"(conn == "a1/b" || "a1/b" in receivers)"#,
        );
        check(of_user, &user, true, r#"conn != "a1/user""#);
        check(
            r#"type == "usage""#,
            &answer,
            false,
            r#"kind == "ack" && type == "update-state""#,
        );
        check(
            "",
            &answer,
            true,
            r#"!(kind == "ack" && type == "update-state")"#,
        );
        check("", &Clause::of_link(7), false, "link == 7");
        check("", &Clause::of_account(""), false, r#"account == """#);
    }

    #[test]
    fn what_a_server_says_is_quoted() {
        let hostile = Clause::of_method("a\"b\\c\n'");
        check("", &hostile, false, r#"method == "a\"b\\c\n'""#);
        // All but a known type, and yet a type of its own.
        let own = Clause::of_type(Kind::Update, "new-mesage");
        check("", &own, false, r#"type.startsWith("new-mesage")"#);
        check("", &own, true, r#"!type.startsWith("new-mesage")"#);
    }

    #[test]
    fn an_entry_passes_what_is_made_of_it() {
        let mut odd = entry(1, "new-mesage");
        odd.entity = Some(Entity::Other("\"\\".into()));
        for entry in [entry(1, "new-message"), odd] {
            let clauses = Clause::of_entry(&entry);
            assert_eq!(clauses.len(), 3);
            for clause in clauses {
                assert!(
                    Filter::parse(&clause.only).unwrap().matches(&entry),
                    "{clause:?}"
                );
                assert!(
                    !Filter::parse(&clause.hide).unwrap().matches(&entry),
                    "{clause:?}"
                );
            }
        }
    }
}
