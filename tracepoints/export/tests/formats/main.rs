//! Every format there and back, with a decoder of our own beside the encoder; and senders against a collector.
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
