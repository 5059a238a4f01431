//! Line charts as SVG. Colours come from classes, so that a page can change them in the dark.

use maud::{Markup, html};

use super::scale::{Scale, label};
use touchstone_output::text::one_line;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
/// Half of the last label stands beyond the axis: `99.9999 %`, in fonts wider than most.
const RIGHT: f64 = 40.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 40.0;

/// At most so many points per line; more would not be seen, and long runs have many.
const POINTS: usize = 480;

/// A chart.
pub(crate) struct Plot {
    /// What it shows, for people who cannot see it.
    pub(super) about: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Parts of the x axis that do not count.
    pub(super) shaded: Vec<(f64, f64)>,
}

/// One axis of a chart.
pub(super) struct Axis {
    pub(super) title: &'static str,
    pub(super) scale: Scale,
    /// Labels, where they are not the values.
    pub(super) labels: Option<fn(f64) -> String>,
}

/// One line of a chart.
pub(super) struct Line {
    pub(super) name: String,
    /// Its class, which decides about colour and dashes.
    pub(super) class: &'static str,
    pub(super) points: Vec<(f64, f64)>,
}

impl Plot {
    fn across(&self, value: f64) -> f64 {
        LEFT + self.x.scale.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn down(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.scale.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// The chart as an SVG element that is as wide as there is room. `style` stands within, for charts
    /// that are files of their own.
    pub(crate) fn svg(&self, style: Option<&str>) -> Markup {
        html! {
            svg xmlns="http://www.w3.org/2000/svg" viewBox={ "0 0 " (WIDTH) " " (HEIGHT) }
                role="img" aria-label=(self.about) class="plot" {
                @if let Some(style) = style {
                    style { (maud::PreEscaped(style)) }
                    rect.page width=(WIDTH) height=(HEIGHT) {}
                }
                (self.shades())
                (self.grid())
                @for line in &self.lines {
                    @if !line.points.is_empty() {
                        path class={ "line " (line.class) } d=(self.path(&line.points)) {}
                    }
                }
                (self.legend())
            }
        }
    }

    fn shades(&self) -> Markup {
        html! {
            @for (from, to) in &self.shaded {
                @let left = self.across(*from);
                rect.shaded x=(short(left)) y=(short(TOP)) width=(short(self.across(*to) - left))
                    height=(short(HEIGHT - TOP - BOTTOM)) {}
            }
        }
    }

    fn grid(&self) -> Markup {
        let text = |axis: &Axis, value| axis.labels.map_or_else(|| label(value), |of| of(value));
        html! {
            @for value in self.y.scale.ticks() {
                @let y = short(self.down(value));
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y) y2=(y) {}
                text.tick x=(LEFT - 6.0) y=(y) dy="0.32em" text-anchor="end" { (text(&self.y, value)) }
            }
            @for value in self.x.scale.ticks() {
                @let x = short(self.across(value));
                line.grid x1=(x) x2=(x) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
                text.tick x=(x) y=(HEIGHT - BOTTOM + 17.0) text-anchor="middle" { (text(&self.x, value)) }
            }
            text.tick x=(WIDTH - RIGHT) y=(HEIGHT - 6.0) text-anchor="end" { (self.x.title) }
            text.tick x="4" y="14" { (self.y.title) }
        }
    }

    fn legend(&self) -> Markup {
        // Names stand at the right of the top edge, the first one leftmost.
        let mut right = WIDTH - RIGHT;
        let mut places = Vec::new();
        for line in self.lines.iter().rev() {
            #[expect(clippy::cast_precision_loss, reason = "names are short")]
            let width = line.name.chars().count() as f64 * 6.6 + 34.0;
            right -= width;
            places.push((right, line));
        }
        html! {
            @for (left, line) in places {
                line class={ "line " (line.class) } x1=(short(left)) x2=(short(left + 16.0)) y1="10" y2="10" {}
                text.tick x=(short(left + 20.0)) y="10" dy="0.32em" { (one_line(&line.name)) }
            }
        }
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (at, (x, y)) in thinned(points).into_iter().enumerate() {
            path.push(if at == 0 { 'M' } else { 'L' });
            path.push_str(&format!(
                "{} {}",
                short(self.across(x)),
                short(self.down(y))
            ));
        }
        path
    }
}

/// Of many points, the highest of each few neighbours: peaks are what people look for.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let each = points.len().div_ceil(POINTS).max(1);
    points
        .chunks(each)
        .filter_map(|few| {
            few.iter()
                .copied()
                .max_by(|(_, one), (_, other)| one.total_cmp(other))
        })
        .collect()
}

/// A coordinate with one digit behind the point.
fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_keep_their_peaks() {
        let points: Vec<_> = (0..100_000)
            .map(|at| (f64::from(at), if at == 77_777 { 9.0 } else { 1.0 }))
            .collect();
        let few = thinned(&points);
        assert!(few.len() <= POINTS);
        assert!(few.contains(&(77_777.0, 9.0)));
        assert_eq!(thinned(&points[..3]), points[..3]);
    }

    #[test]
    fn coordinates_are_short() {
        assert_eq!(short(12.04), "12");
        assert_eq!(short(12.06), "12.1");
    }
}
