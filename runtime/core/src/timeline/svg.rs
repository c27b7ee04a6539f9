//! A timeline as people read it.

use std::{collections::BTreeSet, fmt::Write, ops::Range};

use super::{
    chrome::name,
    span::{Activity, Lane, Span, Timeline},
};

const LABEL_WIDTH: f64 = 170.0;
const CHART_WIDTH: f64 = 1_400.0;
const LANE_HEIGHT: f64 = 26.0;
const TOP: f64 = 44.0;
const NUM_TICKS: u32 = 10;

/// Draws what happened between two moments, in seconds: a row for each lane, an axis of time, and
/// the microbatch's number wherever it fits.
pub fn svg(timeline: &Timeline, stretch: Range<f64>) -> String {
    let lanes: BTreeSet<Lane> = timeline.spans.iter().map(|span| span.lane).collect();
    let lanes: Vec<Lane> = lanes.into_iter().collect();
    let length_s = (stretch.end - stretch.start).max(f64::MIN_POSITIVE);
    let scale = CHART_WIDTH / length_s;
    let bottom = TOP + LANE_HEIGHT * lanes.len() as f64;
    let (width, height) = (LABEL_WIDTH + CHART_WIDTH + 20.0, bottom + 40.0);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    legend(&mut text);
    axis(&mut text, &stretch, bottom);
    for (lane_idx, lane) in lanes.iter().enumerate() {
        let top = TOP + LANE_HEIGHT * lane_idx as f64;
        let middle = top + LANE_HEIGHT / 2.0 + 4.0;
        let label = escape(&name(*lane, &timeline.devices));
        line(&mut text, format_args!("<text x=\"8\" y=\"{middle}\">{label}</text>"));
        let drawn = timeline.spans.iter().filter(|span| {
            span.lane == *lane && span.end_s > stretch.start && span.start_s < stretch.end
        });
        for span in drawn {
            bar(&mut text, span, &stretch, (scale, top));
        }
    }
    text.push_str("</svg>\n");
    text
}

fn bar(text: &mut String, span: &Span, stretch: &Range<f64>, (scale, top): (f64, f64)) {
    let start = LABEL_WIDTH + (span.start_s.max(stretch.start) - stretch.start) * scale;
    let width = (span.end_s.min(stretch.end) - span.start_s.max(stretch.start)) * scale;
    let (top, height) = (top + 3.0, LANE_HEIGHT - 6.0);
    let (color, microbatch, activity) = (color(span.activity), span.microbatch, span.activity);
    let shown_ms = span.seconds() * 1e3;
    line(
        text,
        format_args!(
            "<rect x=\"{start:.2}\" y=\"{top}\" width=\"{width:.2}\" height=\"{height}\" \
             fill=\"{color}\" fill-opacity=\"0.8\" stroke=\"white\" stroke-width=\"0.4\">\
             <title>microbatch {microbatch}: {activity}, {shown_ms:.3} ms</title></rect>"
        ),
    );
    if width > 7.0 * f64::from(microbatch.checked_ilog10().unwrap_or(0) + 2) {
        let (middle, base) = (start + width / 2.0, top + height / 2.0 + 4.0);
        line(
            text,
            format_args!(
                "<text x=\"{middle:.2}\" y=\"{base}\" text-anchor=\"middle\" \
                 fill=\"white\">{microbatch}</text>"
            ),
        );
    }
}

fn axis(text: &mut String, stretch: &Range<f64>, bottom: f64) {
    for tick in 0..=NUM_TICKS {
        let share = f64::from(tick) / f64::from(NUM_TICKS);
        let x = LABEL_WIDTH + share * CHART_WIDTH;
        let at_ms = (stretch.start + share * (stretch.end - stretch.start)) * 1e3;
        let base = bottom + 16.0;
        line(
            text,
            format_args!(
                "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{x}\" y=\"{base}\" text-anchor=\"middle\">{at_ms:.2} ms</text>"
            ),
        );
    }
}

fn legend(text: &mut String) {
    let shown = [
        Activity::Compute,
        Activity::Transfer,
        Activity::AwaitMask,
        Activity::Host,
        Activity::Mask,
    ];
    for (index, activity) in shown.into_iter().enumerate() {
        let x = LABEL_WIDTH + 130.0 * index as f64;
        let (color, label) = (color(activity), x + 18.0);
        line(
            text,
            format_args!(
                "<rect x=\"{x}\" y=\"10\" width=\"12\" height=\"12\" fill=\"{color}\"/>\
                 <text x=\"{label}\" y=\"20\">{activity}</text>"
            ),
        );
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

fn color(activity: Activity) -> &'static str {
    match activity {
        Activity::Compute => "#2b6cb0",
        Activity::Transfer => "#b7791f",
        Activity::AwaitMask => "#c53030",
        Activity::Host => "#4a5568",
        Activity::Mask => "#2f855a",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
