"""Search for, compare and reuse recurrent cells."""
