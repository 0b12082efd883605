"""Amazon S3 and everything that speaks its protocol, through obstore."""

schemes = ("s3",)
extra = "s3"
