//! What the linker has to know of an addon.

fn main() {
    napi_build::setup();
}
