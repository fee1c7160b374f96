"""The crawler: the wiki's API asked politely and one request at a time, resumed where it was killed, stopped where it is not welcome."""
