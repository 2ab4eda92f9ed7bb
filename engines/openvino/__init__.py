"""OpenVINO on CPUs: the embedded default."""
