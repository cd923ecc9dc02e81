"""The vocabulary of a job: what may be asked, validated and immutable. See `job.parse` to read one."""
