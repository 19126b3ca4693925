//! Fake devices that cut power, tear, lose and corrupt, with a seed.
