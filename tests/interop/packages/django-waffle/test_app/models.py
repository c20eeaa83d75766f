"""The models that the tests import, and only those that are left out use."""

CompanyAwareFlag = CustomSample = CustomSwitch = Company = None
