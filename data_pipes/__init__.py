"""Bytes on disk to a batch on the device."""
