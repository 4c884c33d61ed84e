//! Names that are likely one name, misspelt.

use strsim::damerau_levenshtein;

/// Shorter words are too often another word with a letter changed: `dev` and `dem`.
const SHORTEST: usize = 4;
/// In words as long as this more than one letter may be wrong.
const LONG: usize = 9;
const MOST_WRONG: usize = 2;

/// Whether one of these is likely the other one, misspelt: they differ in one word, by a letter or two.
/// Digits and single letters tell names apart on purpose: `team-a` and `team-b`, `shop1` and `shop2`.
pub(super) fn are_near(one: &str, other: &str) -> bool {
    // Most are told apart by this, and quickly.
    if one.len().abs_diff(other.len()) > MOST_WRONG {
        return false;
    }
    let words = |name| str::split(name, ['-', '.', '_', '/', ':']);
    let mut differing = words(one)
        .zip(words(other))
        .filter(|(one, other)| one != other);
    let (Some((a, b)), None) = (differing.next(), differing.next()) else {
        return false;
    };
    let shortest = a.len().min(b.len());
    let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphabetic());
    words(one).count() == words(other).count()
        && is_word(a)
        && is_word(b)
        && shortest >= SHORTEST
        && damerau_levenshtein(a, b) <= if shortest < LONG { 1 } else { MOST_WRONG }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_near() {
        for (one, other, expected) in [
            ("shop", "shopp", true),
            ("orders", "oredrs", true),
            ("istio-system", "istio-sytem", true),
            ("https://idp.example.com", "https://idp.exmaple.com", true),
            ("recommendations", "reccomendations", true),
            ("shop", "shop", false),
            ("shop1", "shop2", false),
            ("team-a", "team-b", false),
            ("dev", "dem", false),
            ("shop", "shop-staging", false),
            ("orders", "others", false),
            ("backend", "frontend", false),
        ] {
            assert_eq!(are_near(one, other), expected, "{one} {other}");
            assert_eq!(are_near(other, one), expected, "{other} {one}");
        }
    }
}
