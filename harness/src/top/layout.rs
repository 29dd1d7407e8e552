//! What goes where.

use ratatui::layout::Rect;

/// So wide, two panels stand side by side.
const TWO_ABREAST: u16 = 76;
/// With fewer lines left there are rows alone, and with fewer than the other, one of the two panels where they stand upon each other.
const PANELS: u16 = 13;
const TWO_UPON_EACH_OTHER: u16 = 22;

/// The parts of the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) head: Rect,
    pub(super) table: Rect,
    pub(super) latency: Rect,
    pub(super) holders: Rect,
    pub(super) foot: Rect,
}

/// Divides the screen. `head` and `foot` are so many lines, if there is room.
pub(super) fn parts(area: Rect, head: u16, foot: u16) -> Parts {
    let line = |y: u16, height: u16| Rect { y: area.y + y, height, ..area };
    let head = head.min(area.height);
    let foot = foot.min(area.height - head);
    let body = area.height - head - foot;
    let mut parts = Parts { head: line(0, head), foot: line(area.height - foot, foot), ..Parts::default() };
    if body < PANELS {
        return Parts { table: line(head, body), ..parts };
    }
    if area.width >= TWO_ABREAST {
        let height = (body * 2 / 5).clamp(6, 16);
        let left = area.width / 2;
        let below = line(head + body - height, height);
        parts.latency = Rect { width: left - 1, ..below };
        parts.holders = Rect { x: area.x + left + 1, width: area.width - left - 1, ..below };
        return Parts { table: line(head, body - height), ..parts };
    }
    let holders = if body < TWO_UPON_EACH_OTHER { 0 } else { (body / 5).clamp(4, 12) };
    let latency = (body / 3).clamp(6, 12);
    parts.holders = line(head + body - holders, holders);
    parts.latency = line(head + body - holders - latency, latency);
    Parts { table: line(head, body - holders - latency), ..parts }
}

/// Puts pieces into at most so many lines, two blanks between them. Those that do not fit are left out. Gives the pieces' numbers.
pub(super) fn flow(widths: &[usize], width: u16, lines: usize) -> Vec<Vec<usize>> {
    const BETWEEN: usize = 2;
    let width = usize::from(width);
    let mut flowed: Vec<Vec<usize>> = Vec::new();
    let mut left = 0;
    for (piece, needs) in widths.iter().enumerate() {
        let is_room = flowed.is_empty() || flowed.len() < lines && *needs <= width;
        match flowed.last_mut() {
            Some(line) if needs + BETWEEN <= left => {
                left -= needs + BETWEEN;
                line.push(piece);
            }
            _ if is_room && lines > 0 => {
                left = width.saturating_sub(*needs);
                flowed.push(vec![piece]);
            }
            _ => {}
        }
    }
    flowed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_fill_the_screen_and_do_not_overlap() {
        for width in 1..200 {
            for height in 0..80 {
                let area = Rect::new(0, 0, width, height);
                let parts = parts(area, 3, 2);
                let all = [parts.head, parts.table, parts.latency, parts.holders, parts.foot];
                for (number, part) in all.iter().enumerate() {
                    assert!(
                        part.is_empty() || area.intersection(*part) == *part,
                        "{width}x{height}: {parts:?}"
                    );
                    for other in &all[..number] {
                        assert!(part.intersection(*other).is_empty(), "{width}x{height}: {parts:?}");
                    }
                }
                assert!(height < 8 || parts.table.height >= 3, "{width}x{height}: {parts:?}");
            }
        }
    }

    #[test]
    fn panels_come_with_room() {
        let at = |width, height| parts(Rect::new(0, 0, width, height), 3, 2);
        assert!(at(40, 12).latency.is_empty());
        assert!(!at(40, 20).latency.is_empty() && at(40, 20).holders.is_empty());
        assert!(!at(40, 30).holders.is_empty());
        assert_eq!(at(80, 24).latency.y, at(80, 24).holders.y);
    }

    #[test]
    fn pieces_flow() {
        assert_eq!(flow(&[5, 5, 5], 18, 1), [vec![0, 1]]);
        assert_eq!(flow(&[5, 5, 5], 18, 2), [vec![0, 1], vec![2]]);
        // A shorter one may have the room that a longer one has not.
        assert_eq!(flow(&[5, 50, 5], 20, 1), [vec![0, 2]]);
        assert_eq!(flow(&[50, 5], 20, 1), [vec![0]]);
        assert_eq!(flow(&[], 20, 2), Vec::<Vec<usize>>::new());
        assert_eq!(flow(&[5], 20, 0), Vec::<Vec<usize>>::new());
    }
}
