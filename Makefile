# The two words of daily work: `make verify` reads, `make fix` writes.

.PHONY: verify fix

# What CI's first tier runs. Changes nothing.
verify:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cargo test --workspace

# Formats, and applies what clippy can apply by itself.
fix:
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	cargo fmt --all
