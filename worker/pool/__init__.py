"""The worker process: a pool of rq workers, and the watch each keeps over the attempt in its hands."""
