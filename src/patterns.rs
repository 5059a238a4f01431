//! What was probably meant by a pattern of cases that selects none.

use touchstone_cases::cases;

use touchstone_output::suggest::closest;

/// The case, or all cases of a group, that a pattern without a match was to select.
pub(crate) fn closest_pattern(pattern: &str) -> Option<String> {
    let mut known: Vec<String> = cases().map(|case| case.id.to_owned()).collect();
    let mut groups: Vec<String> = cases().map(|case| format!("{}.*", case.group())).collect();
    groups.dedup();
    known.extend(groups);
    closest(pattern, known.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_found_and_nothing_else() {
        #[track_caller]
        fn check(pattern: &str, expected: Option<&str>) {
            assert_eq!(closest_pattern(pattern).as_deref(), expected, "{pattern}");
        }
        check("mesage.recipients", Some("message.recipients"));
        check("mesage.*", Some("message.*"));
        check("rpc.cal", Some("rpc.call"));
        check("quux", None);
    }
}
