//! Sorting in little code.
//!
//! The standard library's sort takes 7 kB of the module for each type that it sorts, so here one
//! copy of it sorts places instead. Its maps sort what they are collected from: they are extended.

use std::cmp::Ordering;

/// Sorts, and keeps the order of equals.
pub(crate) fn by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut order: Vec<usize> = (0..items.len()).collect();
    sort(&mut order, &|one, other| {
        let items = items.get(one).zip(items.get(other));
        items.map_or(Ordering::Equal, |(one, other)| compare(one, other))
    });
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    let in_order = order.into_iter();
    items.extend(in_order.filter_map(|place| taken.get_mut(place)?.take()));
}

#[inline(never)]
fn sort(places: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    places.sort_unstable_by(|one, other| compare(*one, *other).then(one.cmp(other)));
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
    fn equals_stay_in_order() {
        let mut items: Vec<(u32, u32)> = (0..1000).map(|n| (n * 7919 % 10, n)).collect();
        let mut expected = items.clone();
        expected.sort();
        by(&mut items, |one, other| one.0.cmp(&other.0));
        assert_eq!(items, expected);
    }
}
