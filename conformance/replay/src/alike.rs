//! Differences that are the same but for the values and numbers in them, told once with their count.

use super::outcome::{Item, Outcome};

/// What several items have in common.
#[derive(PartialEq, Eq)]
struct Kind<'a> {
    word: &'static str,
    what: String,
    places: Vec<&'a str>,
}

impl<'a> Kind<'a> {
    fn of(item: &'a Item) -> Option<Self> {
        let places = match &item.outcome {
            Outcome::Same | Outcome::Observed { .. } | Outcome::Blocked { .. } => return None,
            Outcome::Missing(_) | Outcome::Extra(_) => Vec::new(),
            Outcome::Different(differences) => differences.iter().map(|one| one.place()).collect(),
        };
        Some(Self {
            word: item.outcome.as_str(),
            what: unnumbered(&item.what),
            places,
        })
    }
}

/// `answer to update-metadata` of `answer to update-metadata #3`.
fn unnumbered(what: &str) -> String {
    let is_number = |word: &&str| {
        let digits = word.strip_prefix('#');
        digits.is_some_and(|digits| digits.chars().all(|c| c.is_ascii_digit()))
    };
    let words: Vec<_> = what.split(' ').filter(|word| !is_number(word)).collect();
    words.join(" ")
}

/// The items that are otherwise and may not be: the first of each kind, and how many others there are of
/// it.
pub(super) fn alike(items: &[Item]) -> Vec<(&Item, usize)> {
    let mut kinds: Vec<(Kind<'_>, &Item, usize)> = Vec::new();
    for item in items {
        let Some(kind) = Kind::of(item) else {
            continue;
        };
        match kinds.iter_mut().find(|(known, ..)| *known == kind) {
            Some((.., others)) => *others += 1,
            None => kinds.push((kind, item, 0)),
        }
    }
    let told = kinds.into_iter().map(|(_, item, others)| (item, others));
    told.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::payload::Difference;

    fn item(what: &str, outcome: Outcome) -> Item {
        Item {
            conn: "u1".into(),
            what: what.into(),
            t_us: 1,
            outcome,
        }
    }

    fn different(path: &str, now: u64) -> Outcome {
        Outcome::Different(vec![Difference {
            path: path.into(),
            recorded: Some(json!(1)),
            replayed: Some(json!(now)),
        }])
    }

    #[test]
    fn equal_lines_are_told_once() {
        let mut items: Vec<_> = (0..40)
            .map(|n| {
                item(
                    &format!("answer to update-state #{n}"),
                    different("/version", n),
                )
            })
            .collect();
        items.push(item("answer to update-state #41", different("/result", 2)));
        items.push(item(
            "update new-message",
            Outcome::Missing(json!({"seq": 1})),
        ));
        items.push(item(
            "update new-message",
            Outcome::Extra(json!({"seq": 1})),
        ));
        items.push(item(
            "update new-message",
            Outcome::Missing(json!({"seq": 2})),
        ));
        items.push(item("update new-message", Outcome::Same));
        let told = alike(&items);
        let told: Vec<_> = told
            .iter()
            .map(|(item, others)| (item.what.as_str(), *others))
            .collect();
        assert_eq!(
            told,
            [
                ("answer to update-state #0", 39),
                ("answer to update-state #41", 0),
                ("update new-message", 1),
                ("update new-message", 0),
            ]
        );
    }
}
