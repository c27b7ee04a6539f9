//! Embeds the engine in a web service: `POST /generate` streams text as server-sent events.
//!
//! `cargo run --release -p sluicegate-examples --bin serve`, then
//! `curl -N 127.0.0.1:8080/generate --json '{"prompt": "Describe a wizard.", "max_tokens": 60}'`

use std::io::Write;

use axum::{Json, Router, extract::State, http::StatusCode, response::sse, routing};
use futures_util::{Stream, StreamExt};
use sluicegate::{
    Engine, Event, OpenOptions, Prompt, Request,
    constraint::Spec,
    engine::GenerationError,
    model::{chat::Message, source::Bar},
};

#[derive(serde::Deserialize)]
struct Question {
    prompt: String,
    schema: Option<serde_json::Value>,
    max_tokens: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let engine = OpenOptions::new().open_with("smollm2", &Bar::default())?;
    let routes = Router::new().route("/generate", routing::post(generate));
    let routes = routes.route("/running", routing::get(running));
    let listener = tokio::net::TcpListener::bind(address).await?;
    writeln!(std::io::stdout(), "http://{}", listener.local_addr()?)?;
    Ok(axum::serve(listener, routes.with_state(engine)).await?)
}

/// A client that disconnects drops the stream, and with it the generation, which cancels the
/// request.
async fn generate(
    State(engine): State<Engine>,
    Json(Question { prompt, schema, max_tokens }): Json<Question>,
) -> Result<sse::Sse<impl Stream<Item = Result<sse::Event, axum::Error>>>, (StatusCode, String)> {
    let prompt = Prompt::Chat(vec![Message::new("user", prompt)]);
    let constraint = schema.map_or(Spec::Text, Spec::json);
    let request = Request { constraint, max_tokens, ..Request::new(prompt) };
    // Compiles the schema, which may take longer than other clients should wait.
    let submitted = tokio::task::block_in_place(|| engine.submit(request));
    let refuse = |error| (StatusCode::BAD_REQUEST, format!("{:#}", anyhow::Error::new(error)));
    Ok(sse::Sse::new(StreamExt::map(submitted.map_err(refuse)?, message)))
}

fn message(event: Result<Event, GenerationError>) -> Result<sse::Event, axum::Error> {
    let named = |name| sse::Event::default().event(name);
    match event {
        Ok(Event::Text { text, .. }) => named("text").json_data(text),
        Ok(Event::Output(output)) => named("end").json_data(output.finish_reason),
        Ok(Event::Finished { usage, .. }) => named("usage").json_data(usage),
        Err(error) => named("error").json_data(error.to_string()),
    }
}

/// Requests that the engine works on, and those whose client went away.
async fn running(State(engine): State<Engine>) -> Json<serde_json::Value> {
    // The engine answers once it is done with what it is at.
    let metrics = tokio::task::block_in_place(|| engine.metrics());
    let (running, cancelled) = (metrics.requests, metrics.requests_cancelled);
    Json(serde_json::json!({"running": running, "cancelled": cancelled}))
}
