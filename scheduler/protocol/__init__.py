"""Every message that crosses a boundary, as typed data. Pure: no I/O, no clock."""
