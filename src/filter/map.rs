//! Header lines as the ABI serialises them: a count, the sizes of all names and values, and then the
//! names and values themselves, each with a zero byte behind it.

use std::ops::Range;

use crate::request::Line;

/// Takes apart a serialised map.
pub(crate) fn pairs(map: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let lines = lines(map)?.into_iter();
    lines
        .map(|line| {
            // Envoy takes no name that isn't ASCII; if one came, its bytes must not be lost.
            let name = String::from_utf8_lossy(map.get(line.name)?).into_owned();
            Some((name, map.get(line.value)?.to_vec()))
        })
        .collect()
}

/// Where the lines of a serialised map are.
pub(super) fn lines(map: &[u8]) -> Option<Vec<Line>> {
    if map.is_empty() {
        return Some(Vec::new());
    }
    let number = |bytes: &[u8; 4]| usize::try_from(u32::from_le_bytes(*bytes)).ok();
    let (count, rest) = map.split_first_chunk()?;
    let sizes = number(count)?.checked_mul(8)?;
    let (sizes, _) = rest.get(..sizes)?.as_chunks::<4>();
    let mut at = 4 + sizes.len() * 4;
    let mut take = |size: &[u8; 4]| -> Option<Range<usize>> {
        let piece = at..at.checked_add(number(size)?)?;
        at = piece.end.checked_add(1)?;
        (piece.end <= map.len()).then_some(piece)
    };
    let mut lines = Vec::with_capacity(sizes.len() / 2);
    for pair in sizes.as_chunks().0 {
        let [name, value] = pair;
        lines.push(Line {
            name: take(name)?,
            value: take(value)?,
        });
    }
    Some(lines)
}

/// The opposite of [`pairs`].
pub(super) fn serialised(headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let size = |text: &[u8]| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    let mut map = count.to_le_bytes().to_vec();
    for (name, value) in headers {
        map.extend(size(name.as_bytes()));
        map.extend(size(value));
    }
    for text in headers
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), value])
    {
        map.extend_from_slice(text);
        map.push(0);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_come_back_as_they_went() {
        let headers = [("a", b"1".to_vec()), ("", vec![]), ("a", b"\xff".to_vec())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(pairs(&serialised(&headers)).unwrap(), headers);
        assert_eq!(pairs(&[]).unwrap(), []);
        assert_eq!(pairs(&serialised(&[])).unwrap(), []);
    }

    #[test]
    fn broken_maps_are_no_maps() {
        let whole = serialised(&[("name".to_owned(), b"value".to_vec())]);
        for end in 1..whole.len() - 1 {
            assert!(lines(&whole[..end]).is_none(), "{end}");
            assert_eq!(pairs(&whole[..end]), None, "{end}");
        }
        assert_eq!(pairs(&[0xff; 4]), None);
        assert_eq!(pairs(&[0xff; 64]), None);
    }
}
