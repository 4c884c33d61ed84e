//! Sorting in little code.
//!
//! The standard library's sort takes 7 kB of the module for each type that it sorts, so here one small
//! one sorts places, and items are swapped. Its maps sort what they are collected from: they are extended.

use std::cmp::Ordering;

/// Sorts, and keeps the order of equals.
pub(crate) fn by<T>(items: &mut [T], compare: impl Fn(&T, &T) -> Ordering) {
    // As most are.
    if items.len() < 2 {
        return;
    }
    let mut places = places(items.len(), &|one, other| {
        let items = items.get(one).zip(items.get(other));
        items.map_or(Ordering::Equal, |(one, other)| compare(one, other))
    });
    arrange(&mut places, &mut |one, other| items.swap(one, other));
}

/// Where each of so many items belongs, by merging runs that are in order: the standard library's sort
/// is ten times the code, for a speed that no request needs.
#[inline(never)]
fn places(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    // Most are in order as they are found.
    let is_next = |two: &[usize]| matches!(two, [one, next] if compare(*one, *next).is_le());
    if order.windows(2).all(is_next) {
        return order;
    }
    let mut merged = order.clone();
    let mut run = 1;
    while run < count {
        let runs = order.chunks(2 * run).zip(merged.chunks_mut(2 * run));
        for (runs, merged) in runs {
            let (mut one, mut other) = runs.split_at(run.min(runs.len()));
            for place in merged {
                let from = match (one, other) {
                    ([first, ..], [second, ..]) if compare(*second, *first).is_lt() => &mut other,
                    ([_, ..], _) => &mut one,
                    _ => &mut other,
                };
                if let [first, rest @ ..] = *from {
                    (*place, *from) = (*first, rest);
                }
            }
        }
        std::mem::swap(&mut order, &mut merged);
        run *= 2;
    }
    let mut places = merged;
    for (place, item) in order.into_iter().enumerate() {
        if let Some(own) = places.get_mut(item) {
            *own = place;
        }
    }
    places
}

/// Swaps items until each is where it belongs: with every swap one more is.
#[inline(never)]
fn arrange(places: &mut [usize], swap: &mut dyn FnMut(usize, usize)) {
    for here in 0..places.len() {
        while let Some(place) = places.get(here).copied().filter(|place| *place != here) {
            swap(here, place);
            places.swap(here, place);
        }
    }
}

/// What a map is collected from, without sorting it first.
pub(crate) fn collected<M: Default + Extend<T>, T>(items: impl IntoIterator<Item = T>) -> M {
    let mut map = M::default();
    map.extend(items);
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_standard_library_sorts() {
        for count in 0..40 {
            for seed in 0..20_u32 {
                let random =
                    |n: u32| (n + 1).wrapping_mul(seed.wrapping_mul(2_654_435_761) | 1) % 7;
                let mut items: Vec<(u32, u32)> = (0..count).map(|n| (random(n), n)).collect();
                let mut expected = items.clone();
                expected.sort();
                by(&mut items, |one, other| one.0.cmp(&other.0));
                assert_eq!(items, expected);
            }
        }
    }

    #[test]
    fn equals_stay_in_order() {
        let mut items: Vec<(u32, u32)> = (0..1000).map(|n| (n * 7919 % 10, n)).collect();
        let mut expected = items.clone();
        expected.sort();
        by(&mut items, |one, other| one.0.cmp(&other.0));
        assert_eq!(items, expected);
    }
}
