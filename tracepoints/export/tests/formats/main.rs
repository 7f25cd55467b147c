//! Every format written and read, with an independent decoder for the encoder; and senders with a collector.
mod arbitrary;
mod bridge;
mod chrome;
mod chrome_dialects;
mod folded;
mod names;
mod otlp;
mod otlp_dialects;
mod perfetto;
mod sample;
mod send;
mod wire;
