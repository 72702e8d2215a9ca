"""A hub that wants to see one hospital's update, against the apps that hospitals run."""
