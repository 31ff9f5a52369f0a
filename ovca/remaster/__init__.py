"""The update itself: what may happen next, and the loop that makes it happen."""
