"""What each part of a spec is worth: variants of one spec, several seeds, intervals."""
