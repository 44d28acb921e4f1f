"""Keep this minute's truth in Redis: counters, holds and the stream of events. Knows nothing of WeChat."""
