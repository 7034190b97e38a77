"""What one instance knows of its clients and rooms: plain data, no I/O, no clock; time is passed in."""
