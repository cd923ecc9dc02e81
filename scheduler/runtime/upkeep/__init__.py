"""What has to be done now and then: one file a duty, with its settings; `duties` gives each its time."""
