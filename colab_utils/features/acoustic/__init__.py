"""Front ends of acoustics: log-mel, prosody, functionals, eGeMAPS; worse recordings."""
