"""Reading and writing video and sound; nothing above touches a codec."""
