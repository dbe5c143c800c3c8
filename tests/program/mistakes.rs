//! What a user gets wrong, and what is said.
